"""The encoder against transformers on the same checkpoint, and what must not change a vector."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gemwire_kernels.cpu import NativeOps
from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.checkpoints.synthetic import make_checkpoint
from gemwire_server.engine.packing import TokenIds, pack
from gemwire_server.models.config import LayerConfig
from gemwire_server.models.encoder import Encoder as AnyEncoder
from gemwire_server.models.gemma3.encoder import Encoder, EncoderWeights
from gemwire_server.runners.cpu import CpuRunner
from gemwire_server.verify import Errors, gate
from support.growth import STATUS, growth
from support.kernels.cpu import COMPILER
from support.reference_model import ReferenceModel

# Around the chunk of queries (128), the window's reach (256), its double, and the model's own window.
LENGTHS = (1, 2, 3, 63, 64, 65, 127, 129, 255, 256, 257, 258, 259, 385, 511, 512, 513, 1024, 2048)
FP32_TOLERANCE = 5e-6  # of a unit vector's entries; sums are taken in another order


def random_ids(lengths: tuple[int, ...], vocab_size: int, seed: int) -> list[TokenIds]:
    random = np.random.default_rng(seed)
    return [random.integers(0, vocab_size, length, dtype=np.int32) for length in lengths]


@pytest.fixture(scope="module")
def runner(tiny_checkpoint: Path) -> CpuRunner:
    return CpuRunner.load(open_checkpoint(str(tiny_checkpoint)), dtype="float32", threads=0)


@pytest.fixture(scope="module")
def ids(runner: CpuRunner) -> list[TokenIds]:
    return random_ids(LENGTHS, runner.encoder.config.vocab_size, seed=1)


@pytest.fixture(scope="module")
def expected(tiny_checkpoint: Path, ids: list[TokenIds]) -> NDArray[np.float32]:
    return ReferenceModel(tiny_checkpoint, torch.float32).embed(ids)


def test_matches_transformers_in_one_mixed_batch(
    runner: CpuRunner, ids: list[TokenIds], expected: NDArray[np.float32]
) -> None:
    order = np.random.default_rng(2).permutation(len(ids))
    vectors = runner.run(pack([ids[i] for i in order]))
    np.testing.assert_allclose(vectors, expected[order], atol=FP32_TOLERANCE)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def gemma3(encoder: AnyEncoder) -> Encoder:
    assert isinstance(encoder, Encoder)
    return encoder


def with_layers(encoder: Encoder, change: Callable[[LayerConfig], LayerConfig]) -> Encoder:
    layers = tuple(change(layer) for layer in encoder.config.layers)
    return Encoder(replace(encoder.config, layers=layers), encoder.weights, encoder.ops)


def no_window(encoder: Encoder) -> Encoder:
    return with_layers(encoder, lambda layer: replace(layer, window=None))


def window_one_short(encoder: Encoder) -> Encoder:
    def shorter(layer: LayerConfig) -> LayerConfig:
        return layer if layer.window is None else replace(layer, window=layer.window - 1)

    return with_layers(encoder, shorter)


def swapped_theta(encoder: Encoder) -> Encoder:
    other = {1e4: 1e6, 1e6: 1e4}
    return with_layers(encoder, lambda layer: replace(layer, rope_theta=other[layer.rope_theta]))


def bare_norm_weight(encoder: Encoder) -> Encoder:
    weights: EncoderWeights = replace(encoder.weights, norm=encoder.weights.norm - 1)
    return Encoder(encoder.config, weights, encoder.ops)


def bare_q_norm(encoder: Encoder) -> Encoder:
    layers = [replace(layer, q_norm=layer.q_norm - 1) for layer in encoder.weights.layers]
    return Encoder(encoder.config, replace(encoder.weights, layers=tuple(layers)), encoder.ops)


@pytest.mark.parametrize(
    "damage", [no_window, window_one_short, swapped_theta, bare_norm_weight, bare_q_norm]
)
def test_the_comparison_sees_damage(
    damage: Callable[[Encoder], Encoder],
    runner: CpuRunner,
    ids: list[TokenIds],
    expected: NDArray[np.float32],
) -> None:
    """A comparison that cannot fail proves nothing: each mistake is far outside the tolerance."""
    vectors = CpuRunner(damage(gemma3(runner.encoder))).run(pack(ids))
    assert np.abs(vectors - expected).max() > 20 * FP32_TOLERANCE


def test_only_texts_over_the_reach_feel_the_window(runner: CpuRunner, ids: list[TokenIds]) -> None:
    whole = runner.run(pack(ids))
    without = CpuRunner(no_window(gemma3(runner.encoder))).run(pack(ids))
    changed = np.abs(whole - without).max(axis=1) > FP32_TOLERANCE
    reach = runner.encoder.config.window
    assert changed.tolist() == [length > reach + 1 for length in LENGTHS]


@pytest.mark.parametrize("seed", [3, 4])
def test_a_vector_does_not_depend_on_its_batch(runner: CpuRunner, seed: int) -> None:
    lengths = (1, 5, 17, 300, 64, 513)
    ids = random_ids(lengths, runner.encoder.config.vocab_size, seed)
    alone = np.concatenate([runner.run(pack([sequence])) for sequence in ids])
    first_to_last = runner.run(pack(ids))
    last_to_first = runner.run(pack(ids[::-1]))[::-1]
    doubled = runner.run(pack([*ids, *ids]))
    # oneDNN and MKL choose their blocking by the number of rows, so with them the last bits may differ.
    ops = runner.encoder.ops
    tolerance = 0 if isinstance(ops, NativeOps) and ops.exact else 2e-6
    for vectors in (first_to_last, last_to_first, doubled[:6], doubled[6:]):
        np.testing.assert_allclose(vectors, alone, rtol=0, atol=tolerance)


def test_many_one_token_texts(runner: CpuRunner, tiny_checkpoint: Path) -> None:
    ids = random_ids((1,) * 300, runner.encoder.config.vocab_size, seed=5)
    expected = ReferenceModel(tiny_checkpoint, torch.float32).embed(ids[:20])
    np.testing.assert_allclose(runner.run(pack(ids))[:20], expected, atol=FP32_TOLERANCE)


def test_bfloat16_is_inside_the_gate(
    tiny_checkpoint: Path, ids: list[TokenIds], expected: NDArray[np.float32]
) -> None:
    checkpoint = open_checkpoint(str(tiny_checkpoint))
    vectors = CpuRunner.load(checkpoint, dtype="bfloat16", threads=0).run(pack(ids))
    theirs = ReferenceModel(tiny_checkpoint, torch.bfloat16).embed(ids)
    ours, bf16 = Errors.of(vectors, expected), Errors.of(theirs, expected)
    # The tiny geometry's rounding errors average over 96 dimensions, not 768: only the relative gate.
    assert [line for line in gate(ours, bf16) if "reference's" in line] == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_int8_is_near(
    dtype: str, tiny_checkpoint: Path, ids: list[TokenIds], expected: NDArray[np.float32]
) -> None:
    """Over 96 dimensions; over 768, `gemwire verify --weights int8` finds a mean of 1e-3."""
    checkpoint = open_checkpoint(str(tiny_checkpoint))
    runner = CpuRunner.load(checkpoint, dtype=dtype, weights="int8", threads=0)
    errors = Errors.of(runner.run(pack(ids)), expected)
    assert 1e-5 < errors.mean < 2e-3 and errors.maximum < 1e-2
    assert "int8" in runner.description


@pytest.mark.skipif(not STATUS.exists(), reason="the system does not say what a process holds")
@pytest.mark.parametrize(
    "ops,dtype",
    [
        ("chosen", "auto"), ("chosen, int8", "auto"), ("oneDNN products", "bfloat16"),
        ("portable", "bfloat16"), ("portable", "float32"), ("portable, int8", "bfloat16"),
    ],
)  # fmt: skip
def test_memory_does_not_grow(ops: str, dtype: str, tiny_checkpoint: Path) -> None:
    """What a batch needs is kept for the next one, and no batch leaves anything behind."""
    if ops == "oneDNN products" and not COMPILER:
        pytest.skip("there is no C++ compiler")
    # Of its own: malloc's pieces still grow by some MB in one that a thousand tests have run in.
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        # A kept batch each, or what oneDNN keeps for each number of rows, would be hundreds of MB.
        grown = process.submit(growth, tiny_checkpoint, ops, dtype).result(timeout=300)
    assert grown < (4096 if ops.startswith("chosen") else 16384)


def test_full_geometry_is_inside_the_gate(tmp_path: Path) -> None:
    """Once at the size that is served, in both precisions."""
    make_checkpoint(tmp_path / "full", geometry="embeddinggemma-300m", seed=7, dtype="float32")
    checkpoint = open_checkpoint(str(tmp_path / "full"))
    ids = random_ids(LENGTHS, 262_144, seed=7)
    expected = ReferenceModel(checkpoint.path, torch.float32).embed(ids)
    vectors = CpuRunner.load(checkpoint, dtype="float32", threads=0).run(pack(ids))
    np.testing.assert_allclose(vectors, expected, atol=FP32_TOLERANCE)
    theirs = ReferenceModel(checkpoint.path, torch.bfloat16).embed(ids)
    vectors = CpuRunner.load(checkpoint, dtype="bfloat16", threads=0).run(pack(ids))
    assert gate(Errors.of(vectors, expected), Errors.of(theirs, expected)) == []
