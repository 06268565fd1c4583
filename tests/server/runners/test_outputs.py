"""The outputs of the CPU's runner against sentence-transformers on the same checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

import gemwire_mini
from gemwire_kernels import reference
from gemwire_kernels.cpu import NativeOps, PortableOps
from gemwire_kernels.formats import FLOAT32
from gemwire_server.checkpoints import Checkpoint, open_checkpoint
from gemwire_server.engine.interface import Output
from gemwire_server.engine.packing import TokenIds, pack
from gemwire_server.models.gemma3.encoder import Encoder
from gemwire_server.runners.cpu import CpuRunner

MINI = Path(gemwire_mini.__file__).parent / "checkpoint"
# Of numbers about one in size; sums are taken in another order.
FP32_TOLERANCE = 5e-5
LENGTHS = (1, 2, 17, 64, 255, 257, 300, 513, 2048)


@pytest.fixture(scope="module", params=["tiny", "mini"])
def checkpoint(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> Checkpoint:
    return open_checkpoint(str(MINI if request.param == "mini" else tiny_checkpoint))


@pytest.fixture(scope="module")
def ids(checkpoint: Checkpoint) -> list[TokenIds]:
    random = np.random.default_rng(1)
    vocabulary = checkpoint.config.vocab_size
    lengths = [min(length, checkpoint.max_tokens) for length in LENGTHS]
    return [random.integers(0, vocabulary, length, dtype=np.int32) for length in lengths]


def load(checkpoint: Checkpoint, dtype: str = "float32", weights: str = "auto") -> CpuRunner:
    return CpuRunner.load(checkpoint, dtype=dtype, threads=0, weights=weights)


@torch.inference_mode()
def theirs(
    checkpoint: Checkpoint, ids: list[TokenIds], dtype: torch.dtype = torch.float32
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """(states of the tokens of each text, vectors that are not normalized), a text at a time."""
    model = SentenceTransformer(
        str(checkpoint.path), device="cpu", model_kwargs={"dtype": dtype}
    ).to(dtype)
    modules = list(model)
    assert isinstance(modules.pop(), Normalize)
    states, vectors = [], []
    for text in ids:
        tokens = torch.from_numpy(text.astype(np.int64))[None]
        features: dict[str, Any] = {
            "input_ids": tokens,
            "attention_mask": torch.ones_like(tokens),
        }
        for module in modules:
            features = module(features)
        states.append(features["token_embeddings"][0].float().numpy())
        vectors.append(features["sentence_embedding"][0].float().numpy())
    return states, np.stack(vectors)


def test_they_are_those_of_sentence_transformers(
    checkpoint: Checkpoint, ids: list[TokenIds]
) -> None:
    runner = load(checkpoint)
    states, vectors = theirs(checkpoint, ids)
    raw = runner.run(pack(ids), Output.RAW)
    np.testing.assert_allclose(raw, vectors, atol=FP32_TOLERANCE * np.abs(vectors).max())
    assert np.abs(np.linalg.norm(raw, axis=1) - 1).min() > 0.02  # normalizing would change them
    rows = runner.run(pack(ids), Output.TOKENS)
    assert rows.dtype == np.float32
    assert rows.shape == (sum(map(len, ids)), checkpoint.config.hidden_size)
    expected = np.concatenate(states)
    np.testing.assert_allclose(rows, expected, atol=FP32_TOLERANCE * np.abs(expected).max())
    units = runner.run(pack(ids))
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(raw / lengths, units, atol=1e-6)


def test_bfloat16_is_as_near_as_theirs(checkpoint: Checkpoint, ids: list[TokenIds]) -> None:
    """As errors of a row relative to the row's length: the mean, and the largest."""

    def errors(found: NDArray[np.float32], exact: NDArray[np.float32]) -> NDArray[np.float32]:
        off = np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1)
        return np.asarray(off, np.float32)

    exact_states, exact_vectors = theirs(checkpoint, ids)
    their_states, their_vectors = theirs(checkpoint, ids, torch.bfloat16)
    runner = load(checkpoint, "bfloat16")
    for found, their, exact in (
        (
            runner.run(pack(ids), Output.TOKENS),
            np.concatenate(their_states),
            np.concatenate(exact_states),
        ),
        (runner.run(pack(ids), Output.RAW), their_vectors, exact_vectors),
    ):
        ours, other = errors(found, exact), errors(their, exact)
        assert ours.mean() <= 1.5 * other.mean() and ours.max() <= 2 * other.max()
        assert ours.mean() < 0.02


@pytest.mark.parametrize("output", [Output.RAW, Output.TOKENS])
@pytest.mark.parametrize("dtype,weights", [("float32", "auto"), ("bfloat16", "int8")])
def test_they_do_not_depend_on_the_batch(
    dtype: str, weights: str, output: Output, checkpoint: Checkpoint, ids: list[TokenIds]
) -> None:
    runner = load(checkpoint, dtype, weights)
    alone = np.concatenate([runner.run(pack([text]), output) for text in ids])
    together = runner.run(pack(ids), output)
    turned = runner.run(pack(ids[::-1]), output)
    lengths = [len(text) if output is Output.TOKENS else 1 for text in ids]
    parts = np.split(turned, np.cumsum(lengths[::-1])[:-1])
    ops = runner.encoder.ops
    tolerance = 0 if isinstance(ops, NativeOps) and ops.exact else 2e-6 * np.abs(alone).max()
    for found in (together, np.concatenate(parts[::-1])):
        np.testing.assert_allclose(found, alone, rtol=0, atol=tolerance)


@pytest.mark.parametrize("output", list(Output))
def test_every_backend_gives_them(
    output: Output, checkpoint: Checkpoint, ids: list[TokenIds]
) -> None:
    expected = load(checkpoint).run(pack(ids), output)
    portable = PortableOps(torch.float32, weights=FLOAT32)
    for ops in (reference, portable):
        runner = CpuRunner(checkpoint.load_encoder(ops, torch.float32, torch.device("cpu")))
        found = runner.run(pack(ids), output)
        np.testing.assert_allclose(found, expected, atol=FP32_TOLERANCE * np.abs(expected).max())


def test_states_of_tokens_average_to_the_vector(
    checkpoint: Checkpoint, ids: list[TokenIds]
) -> None:
    """Which ties all three together: mean, Dense, length one."""
    runner = load(checkpoint)
    rows = torch.from_numpy(runner.run(pack(ids), Output.TOKENS))
    means = torch.stack([each.mean(0) for each in torch.split(rows, [len(text) for text in ids])])
    assert isinstance(runner.encoder, Encoder)
    raw = F.linear(means, runner.encoder.weights.dense)
    expected = runner.run(pack(ids), Output.RAW)
    np.testing.assert_allclose(raw, expected, atol=FP32_TOLERANCE * np.abs(expected).max())
