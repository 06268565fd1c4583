"""The JSON of an answer is what a plain encoder writes, and its size is estimated from above."""

import base64
import json
import random

import numpy as np
import pytest
from numpy.typing import NDArray

from gemwire_server.fronts.http.openai.answer import BESIDE_VECTORS, answer, vector_bytes

SEED = random.SystemRandom().randrange(2**32)


def unit_rows(count: int, dimensions: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(SEED).standard_normal((count, dimensions)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


@pytest.mark.parametrize("dimensions", [1, 2, 3, 64, 128, 256, 384, 768])
@pytest.mark.parametrize("count", [1, 20])
def test_it_is_what_a_plain_encoder_writes(count: int, dimensions: int) -> None:
    rows = unit_rows(count, dimensions)
    model = 'a "name"\n'
    rest = {"model": model, "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    for form in ("float", "base64"):
        found = json.loads(answer(rows, 7, form, model))
        for each, row in zip(found["data"], rows, strict=True):
            if form == "float":
                each["embedding"] = np.array(each["embedding"], np.float32).tobytes()
            else:
                each["embedding"] = base64.b64decode(each["embedding"], validate=True)
            assert each["embedding"] == row.tobytes()
        places = [(each["object"], each["index"]) for each in found["data"]]
        assert places == [("embedding", i) for i in range(count)]
        assert {key: found[key] for key in rest} == rest


def test_every_float_comes_back() -> None:
    """Bits of all exponents; subnormals too."""
    bits = np.random.default_rng(SEED).integers(0, 2**32, 50_000, np.uint64).astype(np.uint32)
    edges = np.array([0.0, -0.0, 1.0, -1.0, 1e-45, 3.4028235e38], np.float32)
    numbers = np.concatenate([edges, bits.view(np.float32)])
    row = numbers[np.isfinite(numbers)][None]
    (found,) = json.loads(answer(row, 1, "float", "m"))["data"]
    back = np.array(found["embedding"], np.float64).astype(np.float32)
    np.testing.assert_array_equal(back.view(np.uint32), row[0].view(np.uint32))


@pytest.mark.parametrize("dimensions", [64, 128, 256, 512, 768])
@pytest.mark.parametrize("form", ["float", "base64"])
def test_the_estimate_of_its_size(form: str, dimensions: int) -> None:
    found = len(answer(unit_rows(300, dimensions), 1, form, "m" * 500))
    most = BESIDE_VECTORS + 300 * vector_bytes(dimensions, form)
    assert 0.8 * most < found <= most


def test_rows_that_are_a_cut_of_others() -> None:
    rows = unit_rows(3, 768)
    cut = rows[:, :128]
    for form in ("float", "base64"):
        assert answer(cut, 1, form, "m") == answer(cut.copy(), 1, form, "m")
