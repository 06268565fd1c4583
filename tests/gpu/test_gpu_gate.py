"""The GPU's vectors against transformers', at both geometries and in every way of serving."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.engine.packing import TokenIds, pack
from gemwire_server.verify import Errors, embed, gate, reference_vectors
from gpu.runners import Vectors, load, random_ids
from support.reference_model import ReferenceModel

if TYPE_CHECKING:
    from gemwire_server.runners.cuda import CudaRunner

# Around tiles of 21 1/3 tokens (64 rows of three heads), the window's reach (256), its double and its end.
LENGTHS = (
    1, 2, 3, 21, 22, 41, 42, 43, 63, 64, 65, 84, 85, 127, 128, 129, 255, 256, 257, 258, 259, 385,
    511, 512, 513, 514, 1023, 1024, 2047, 2048,
)  # fmt: skip
FP32_TOLERANCE = 5e-6  # of a unit vector's entries
DEVICE = torch.device("cuda:0")


@pytest.fixture(scope="module")
def ids(full: "CudaRunner") -> list[TokenIds]:
    return random_ids(LENGTHS, full, seed=1)


@pytest.fixture(scope="module")
def truth(full_checkpoint: Path, ids: list[TokenIds]) -> Vectors:
    return ReferenceModel(full_checkpoint, torch.float32, DEVICE).embed(ids)


@pytest.fixture(scope="module")
def reference(full_checkpoint: Path, ids: list[TokenIds], truth: Vectors) -> Errors:
    return Errors.of(ReferenceModel(full_checkpoint, torch.bfloat16, DEVICE).embed(ids), truth)


def test_the_reference_on_a_gpu_is_the_cpus(
    full_checkpoint: Path, ids: list[TokenIds], truth: Vectors
) -> None:
    """In float32 indeed: through tf32 it would be 1e-4 off."""
    some = [0, 5, 12, 19]
    on_cpu = ReferenceModel(full_checkpoint, torch.float32).embed([ids[i] for i in some])
    np.testing.assert_allclose(truth[some], on_cpu, atol=FP32_TOLERANCE)


def test_full_geometry_is_inside_the_gate(
    full: "CudaRunner", ids: list[TokenIds], truth: Vectors, reference: Errors
) -> None:
    order = np.random.default_rng(2).permutation(len(ids))
    vectors = np.empty_like(truth)
    vectors[order] = embed(full, [ids[i] for i in order])
    errors = Errors.of(vectors, truth)
    print(f"engine {errors}, reference in bfloat16 {reference}")
    assert gate(errors, reference) == []
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"residual": "bf16"}, {"deterministic": False}, {"cuda_graphs": False}],
    ids=lambda options: next(iter(options)),
)
def test_other_ways_to_serve_are_inside_the_gate(
    options: dict[str, Any],
    full_checkpoint: Path,
    ids: list[TokenIds],
    truth: Vectors,
    reference: Errors,
) -> None:
    errors = Errors.of(embed(load(full_checkpoint, **options), ids), truth)
    print(f"engine with {options} {errors}, reference in bfloat16 {reference}")
    # With a residual like the reference's, and so few texts, p99 is a matter of chance.
    chance = "p99" if options == {"residual": "bf16"} else "nothing"
    assert [line for line in gate(errors, reference) if not line.startswith(chance)] == []


def test_float32_is_as_exact_as_the_reference(
    full_checkpoint: Path, ids: list[TokenIds], truth: Vectors
) -> None:
    runner = load(full_checkpoint, dtype="float32")
    np.testing.assert_allclose(embed(runner, ids), truth, atol=FP32_TOLERANCE)


def test_tiny_geometry_in_float32(tiny_checkpoint: Path) -> None:
    runner = load(tiny_checkpoint, dtype="float32")
    ids = random_ids(LENGTHS, runner, seed=3)
    expected = ReferenceModel(tiny_checkpoint, torch.float32).embed(ids)
    np.testing.assert_allclose(embed(runner, ids), expected, atol=FP32_TOLERANCE)


def test_tiny_geometry_is_no_worse_than_the_reference(
    tiny: "CudaRunner", tiny_checkpoint: Path
) -> None:
    ids = random_ids(LENGTHS, tiny, seed=3)
    expected = ReferenceModel(tiny_checkpoint, torch.float32).embed(ids)
    theirs = Errors.of(ReferenceModel(tiny_checkpoint, torch.bfloat16).embed(ids), expected)
    # Errors average over 96 dimensions, not 768: the gate itself would be a matter of chance.
    found = Errors.of(embed(tiny, ids), expected)
    assert found.mean <= 2 * theirs.mean and found.p99 <= 2 * theirs.p99


def test_thousands_of_the_shortest_texts(full: "CudaRunner", full_checkpoint: Path) -> None:
    ids = random_ids((1,) * 5632, full, seed=4)
    some = [0, 1, 2815, 5630, 5631]
    vectors = full.run(pack(ids))
    model = ReferenceModel(full_checkpoint, torch.float32, DEVICE)
    errors = Errors.of(vectors[some], model.embed([ids[i] for i in some]))
    assert errors.maximum < 1e-3


def test_sentence_transformers_on_the_gpu_agrees(full: "CudaRunner", full_checkpoint: Path) -> None:
    """As `gemwire verify` asks it: from texts, tokenizer and prompts included."""
    checkpoint = open_checkpoint(str(full_checkpoint))
    tokenizer = checkpoint.load_tokenizer()
    texts = ["task: search result | query: red planet", "Mars is red.", "x"]
    theirs = reference_vectors(checkpoint, texts, torch.float32, device=DEVICE)
    ours = embed(full, [tokenizer.encode(text).ids for text in texts])
    assert Errors.of(ours, theirs).maximum < 1e-3
