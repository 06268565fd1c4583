"""modules.json: pipelines that sentence-transformers builds give its vectors, or are refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Dropout,
    LayerNorm,
    Normalize,
    Pooling,
)
from torch import nn

from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.checkpoints.synthetic import make_checkpoint
from gemwire_server.engine.packing import pack
from gemwire_server.errors import CheckpointError
from gemwire_server.runners.cpu import CpuRunner

FP32_TOLERANCE = 5e-6  # of a unit vector's entries; sums are taken in another order
WIDTH = 96  # of the tiny geometry, and of its vectors
TEXT = "Which planet is known as the Red Planet?"
Modules = list[Any]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Modules:
    """Transformer, Pooling, Dense, Dense, Normalize of the tiny geometry in float32."""
    folder = tmp_path_factory.mktemp("modules") / "tiny"
    make_checkpoint(folder, geometry="tiny", seed=0, dtype="float32")
    return list(SentenceTransformer(str(folder), device="cpu"))


def dense(**changes: Any) -> Dense:
    torch.manual_seed(1)
    return Dense(WIDTH, WIDTH, **{"bias": False, "activation_function": nn.Identity()} | changes)


def save(modules: Modules, folder: Path) -> SentenceTransformer:
    model = SentenceTransformer(modules=modules, device="cpu")
    model.save_pretrained(str(folder))
    return model


def embed(folder: Path) -> Any:
    checkpoint = open_checkpoint(str(folder))
    ids = checkpoint.load_tokenizer().encode(TEXT).ids
    return CpuRunner.load(checkpoint, dtype="float32", threads=0).run(pack([ids]))[0]


AGREEING: dict[str, Callable[[Modules], Modules]] = {
    "as published": lambda m: m,
    "no Dense": lambda m: [*m[:2], m[-1]],
    "a third Dense": lambda m: [*m[:-1], dense(), m[-1]],
    "Normalize in the middle": lambda m: [*m[:2], Normalize(), m[2], Normalize(), m[3], m[-1]],
    "Normalize twice": lambda m: [*m, Normalize()],
    "the sum over the root of the length": lambda m: [
        m[0],
        Pooling(WIDTH, "mean_sqrt_len_tokens"),
        *m[2:],
    ],
    "Dropout": lambda m: [*m[:2], Dropout(0.5), *m[2:]],
}


@pytest.mark.parametrize("change", AGREEING.values(), ids=AGREEING)
def test_what_is_implemented_agrees(
    modules: Modules, change: Callable[[Modules], Modules], tmp_path: Path
) -> None:
    model = save(change(modules), tmp_path)
    np.testing.assert_allclose(embed(tmp_path), model.encode(TEXT), atol=FP32_TOLERANCE)


def test_modules_come_in_the_order_of_the_file(modules: Modules, tmp_path: Path) -> None:
    save([*modules[:-1], dense(), modules[-1]], tmp_path)
    where = tmp_path / "modules.json"
    entries = json.loads(where.read_text())
    entries[3], entries[4] = entries[4], entries[3]
    entries[1]["idx"], entries[2]["idx"] = 7, 9
    where.write_text(json.dumps(entries))
    with pytest.raises(CheckpointError, match="in_features is 96, but what comes before gives 192"):
        embed(tmp_path)
    entries[3], entries[4] = entries[4], entries[3]
    where.write_text(json.dumps(entries))
    expected = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXT)
    np.testing.assert_allclose(embed(tmp_path), expected, atol=FP32_TOLERANCE)


TOKENS = {"module_input_name": "token_embeddings"}
REFUSED: list[tuple[str, Callable[[Modules], Modules]]] = [
    ("Transformer, Dense, Pooling", lambda m: [m[0], dense(**TOKENS), *m[1:]]),
    ("module_input_name is 'token_embeddings'", lambda m: [*m[:2], dense(**TOKENS), *m[2:]]),
    ("module_output_name is 'x'", lambda m: [*m[:-1], dense(module_output_name="x"), m[-1]]),
    ("module_input_name is 'token_embeddings'", lambda m: [*m[:-1], Normalize(**TOKENS), m[-1]]),
    ("LayerNorm is not implemented", lambda m: [*m[:2], LayerNorm(WIDTH), *m[2:]]),
    ("Tanh is not implemented", lambda m: [*m[:-1], dense(activation_function=nn.Tanh()), m[-1]]),
    ("GELU is not implemented", lambda m: [*m[:-1], dense(activation_function=nn.GELU()), m[-1]]),
    ("bias is not implemented", lambda m: [*m[:-1], dense(bias=True), m[-1]]),
    ("use_residual is True", lambda m: [*m[:-1], dense(use_residual=True), m[-1]]),
    ("pooling cls is not", lambda m: [m[0], Pooling(WIDTH, "cls"), *m[2:]]),
    ("pooling max is not", lambda m: [m[0], Pooling(WIDTH, "max"), *m[2:]]),
    ("pooling lasttoken is not", lambda m: [m[0], Pooling(WIDTH, "lasttoken"), *m[2:]]),
    ("pooling weightedmean is not", lambda m: [m[0], Pooling(WIDTH, "weightedmean"), *m[2:]]),
    ("pooling mean, max is not", lambda m: [m[0], Pooling(WIDTH, ("mean", "max")), m[-1]]),
    ("include_prompt is False", lambda m: [m[0], Pooling(WIDTH, include_prompt=False), *m[2:]]),
    ("end without Normalize", lambda m: m[:-1]),
    ("end without Normalize", lambda m: [*m, dense()]),
    ("end without Normalize", lambda m: m[:2]),
]


@pytest.mark.parametrize(
    "named,change", REFUSED, ids=[f"{i} {r[0]}" for i, r in enumerate(REFUSED)]
)
def test_what_is_not_implemented_is_refused_by_name(
    modules: Modules, named: str, change: Callable[[Modules], Modules], tmp_path: Path
) -> None:
    save(change(modules), tmp_path)
    with pytest.raises(CheckpointError, match=named) as refused:
        open_checkpoint(str(tmp_path))
    assert str(tmp_path) in str(refused.value)


def test_a_missing_normalize_can_be_appended(modules: Modules, tmp_path: Path) -> None:
    """As the error says; cosines stay."""
    bare = save(modules[:-1], tmp_path).encode(TEXT)
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(str(tmp_path))
    (entry,) = (line for line in str(refused.value).split("`") if line.startswith("{"))
    entries = json.loads((tmp_path / "modules.json").read_text())
    (tmp_path / "modules.json").write_text(json.dumps([*entries, json.loads(entry)]))
    expected = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXT)
    np.testing.assert_allclose(expected, bare / np.linalg.norm(bare), atol=FP32_TOLERANCE)
    np.testing.assert_allclose(embed(tmp_path), expected, atol=FP32_TOLERANCE)


def test_two_modules_of_one_name(modules: Modules, tmp_path: Path) -> None:
    save(modules, tmp_path)
    entries = json.loads((tmp_path / "modules.json").read_text())
    entries[3]["name"] = "2"
    (tmp_path / "modules.json").write_text(json.dumps(entries))
    with pytest.raises(CheckpointError, match="two modules have one name"):
        open_checkpoint(str(tmp_path))
