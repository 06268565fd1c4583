"""The whole encoder through the kernels, tiny and of served widths, against transformers and itself."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gemwire_kernels.gpu import GpuOps, find_table
from gemwire_kernels.gpu.workbench import EMBEDDINGGEMMA
from gemwire_kernels.ops import Ops
from gemwire_server.checkpoints import open_checkpoint, synthetic
from gemwire_server.models.gemma3.config import LayerKind
from gemwire_server.models.gemma3.encoder import Encoder
from gemwire_server.verify import Errors
from support.kernels.setting import (
    CUDA,
    DEVICE,
    DTYPES,
    ROOM,
    guarded,
    make_ops,
    only_interpreted,
    placed,
    runs_kernels,
)
from support.reference_model import ReferenceModel

pytestmark = runs_kernels

# The window's reach is 256: its edges; tiles of 21 and 22 tokens (64 rows of three heads); short texts.
LENGTHS = [1, 22, 43, 257, 0, 258, 7]
if CUDA:
    LENGTHS += [255, 256, 259, 511, 512, 513, 514, 1023, 2047, 2048, 1, 1, 1]
# Of a unit vector's entries, in float32.
TOLERANCE = 1e-5


def make_tiny_ops(tile: tuple[int, int] = (128, 128), dtype: torch.dtype = torch.float32) -> GpuOps:
    return make_ops(3, 1, 32, tile=tile, dtype=dtype)


def make(directory: Path, geometry: str, dtype: str, heads: tuple[int, int] | None = None) -> Path:
    """With a small vocabulary, and in the interpreter with one layer of each kind."""
    chosen = replace(synthetic.GEOMETRIES[geometry], vocab_size=2048)
    if heads is not None:
        chosen = replace(chosen, num_attention_heads=heads[0], num_key_value_heads=heads[1])
    with pytest.MonkeyPatch.context() as patch:
        if not CUDA:
            chosen = replace(chosen, num_hidden_layers=2)
        patch.setitem(synthetic.GEOMETRIES, geometry, chosen)
        synthetic.make_checkpoint(directory, geometry=geometry, seed=3, dtype=dtype)
    if not CUDA:
        path = directory / "config.json"
        config = json.loads(path.read_text())
        config["layer_types"] = [kind.value for kind in LayerKind]
        path.write_text(json.dumps(config))
    return directory


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("gpu") / "tiny", "tiny", "float32")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with EmbeddingGemma's widths."""
    directory = tmp_path_factory.mktemp("gpu") / "wide"
    return make(directory, "embeddinggemma-300m", "bfloat16")


def load(checkpoint: Path, ops: Ops, dtype: torch.dtype = torch.float32) -> Encoder:
    encoder = open_checkpoint(str(checkpoint)).load_encoder(ops, dtype, DEVICE)
    assert isinstance(encoder, Encoder)
    return encoder


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> Encoder:
    return load(checkpoint, make_tiny_ops())


def texts(lengths: list[int], seed: int = 0) -> list[NDArray[np.int32]]:
    """Random ids, the vocabulary's first and last among them."""
    random = np.random.default_rng(seed)
    drawn = [random.integers(0, 2048, length, dtype=np.int32) for length in lengths]
    for ids in drawn:
        ids[:1], ids[1:2], ids[2:4] = 2047, 0, 5
    return drawn


def run(encoder: Encoder, ids: list[NDArray[np.int32]], capacity: int = 0) -> NDArray[np.float32]:
    assert isinstance(encoder.ops, GpuOps)
    lengths = [len(text) for text in ids]
    flat = [token for text in ids for token in text.tolist()]
    batch = placed(encoder.ops, lengths, ids=flat, capacity=capacity)
    with guarded():
        vectors = encoder.forward(batch)
    found: NDArray[np.float32] = vectors[: len(ids)].cpu().numpy()
    return found


def test_the_other_outputs_match_transformers_too(encoder: Encoder, checkpoint: Path) -> None:
    """In a block with room for more: rows beyond the batch are cut off."""
    ids = texts([1, 7, 64, 130])
    tokens = sum(map(len, ids))
    flat = [token for text in ids for token in text.tolist()]
    ops = encoder.ops
    assert isinstance(ops, GpuOps)
    batch = placed(ops, [len(text) for text in ids], ids=flat, capacity=tokens + 40)
    with guarded():
        raw = encoder.forward(batch, normalize=False)[: len(ids)].cpu().numpy()
        states = encoder.token_states(batch)[:tokens].cpu().numpy()
    model = ReferenceModel(checkpoint, torch.float32)
    for found, expected in ((raw, model.raw(ids)), (states, model.token_states(ids))):
        np.testing.assert_allclose(found, expected, atol=TOLERANCE * np.abs(expected).max())


def test_matches_transformers_in_one_mixed_batch(encoder: Encoder, checkpoint: Path) -> None:
    assert {layer.window for layer in encoder.config.layers} == {None, 256}
    ids = texts(LENGTHS)
    vectors = run(encoder, ids)
    real = [len(text) > 0 for text in ids]
    expected = ReferenceModel(checkpoint, torch.float32).embed([text for text in ids if len(text)])
    np.testing.assert_allclose(vectors[real], expected, atol=TOLERANCE)
    np.testing.assert_allclose(np.linalg.norm(vectors[real], axis=1), 1, atol=1e-6)
    assert not vectors[np.logical_not(real)].any()
    # What would not be seen proves nothing.
    if not CUDA:
        return
    layers = tuple(
        layer if layer.window is None else replace(layer, window=layer.window - 1)
        for layer in encoder.config.layers
    )
    narrow = Encoder(replace(encoder.config, layers=layers), encoder.weights, encoder.ops)
    assert np.abs(run(narrow, ids)[real] - expected).max() > 5 * TOLERANCE


@only_interpreted
@pytest.mark.parametrize("heads", [(3, 1), (4, 2)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_cards_without_a_copy_engine_compute_the_same_bits(
    dtype: torch.dtype, heads: tuple[int, int], tmp_path: Path
) -> None:
    ids = texts([1, 43, 0, 300, 7])
    path = make(tmp_path / "tiny", "tiny", "float32", heads)
    with_engine, without = (
        run(load(path, make_ops(*heads, 32, dtype=dtype, copy_engine=copy_engine), dtype), ids)
        for copy_engine in (True, False)
    )
    assert np.isfinite(with_engine).all() and np.array_equal(with_engine, without)


@pytest.mark.parametrize("residual", [torch.float32, torch.bfloat16])
def test_bfloat16_is_no_worse_than_transformers(residual: torch.dtype, checkpoint: Path) -> None:
    ops = make_ops(3, 1, 32, tile=(128, 128), dtype=torch.bfloat16, residual_dtype=residual)
    assert_at_most_twice_as_far(
        load(checkpoint, ops, torch.bfloat16), checkpoint, [1, 43, 257, 258, 7]
    )


@pytest.mark.parametrize(
    ("capacity", "lengths"), [(32, [5, 21]), (128, [5, 22, 43]), (1024, [3, 130]), (2048, [258, 3])]
)
def test_as_it_is_served_it_is_no_worse_than_transformers(
    capacity: int, lengths: list[int], wide: Path
) -> None:
    """EmbeddingGemma's widths and each of a Hopper card's tile sets."""
    ops = make_ops(3, 1, 256, dtype=torch.bfloat16)
    if not CUDA:
        table = find_table("Hopper", 232448, "bfloat16")
        ops = GpuOps(
            EMBEDDINGGEMMA.attention,
            table,
            dtype=torch.bfloat16,
            device=DEVICE,
            multiprocessors=132,
        )
    encoder = load(wide, ops, torch.bfloat16)
    assert_at_most_twice_as_far(encoder, wide, lengths, capacity - ROOM)


def assert_at_most_twice_as_far(
    encoder: Encoder, checkpoint: Path, lengths: list[int], capacity: int = 0
) -> None:
    """At most twice as far from transformers in float32 as transformers in bfloat16 is: of a few texts
    and a few layers, the gate of `gemwire verify` would be a matter of chance."""
    ids = texts(lengths)
    truth, theirs = (
        ReferenceModel(checkpoint, dtype).embed(ids) for dtype in (torch.float32, torch.bfloat16)
    )
    found = Errors.of(run(encoder, ids, capacity), truth)
    reference = Errors.of(theirs, truth)
    assert 0 < found.mean <= 2 * reference.mean and found.maximum <= 2 * reference.maximum


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_vector_does_not_depend_on_its_batch(dtype: torch.dtype, checkpoint: Path) -> None:
    """Bit for bit: alone, first, last, permuted, beside other texts, and in a larger bucket."""
    encoder = load(checkpoint, make_tiny_ops((16, 16), dtype), dtype)
    ids = texts([23, 1, 9, 16])
    if CUDA:
        ids += texts([300, 2048, 43, 258])
    alone = np.concatenate([run(encoder, [text]) for text in ids])
    assert np.array_equal(run(encoder, ids), alone)
    assert np.array_equal(run(encoder, ids[::-1])[::-1], alone)
    order = np.random.default_rng(1).permutation(len(ids))
    assert np.array_equal(run(encoder, [ids[i] for i in order]), alone[order])
    others = texts([1, 0, 20, 6], seed=9)
    for capacity in (1500, 16896) if CUDA else (1500,):
        found = run(encoder, [*others, *ids, *others], capacity=capacity)
        assert np.array_equal(found[4:-4], alone)


def test_a_neighbours_tokens_change_nothing_but_its_own_vector(encoder: Encoder) -> None:
    ids = texts([5, 30, 5])
    before = run(encoder, ids)
    ids[1] = texts([30], seed=1)[0]
    after = run(encoder, ids)
    assert np.array_equal(before[[0, 2]], after[[0, 2]])
    assert not np.array_equal(before[1], after[1])


def test_what_is_not_finite_fails_alone(encoder: Encoder, checkpoint: Path) -> None:
    """One token's embedding is damaged: its text's vector says so, and no other text's does."""
    ids = texts([9, 12, 5])
    before = run(encoder, ids)
    damaged = load(checkpoint, encoder.ops)
    for value in (float("nan"), float("inf")):
        damaged.weights.embed_tokens[77] = value
        ids[1][4] = 77
        after = run(damaged, ids)
        assert np.isnan(after[1]).all()
        assert np.array_equal(before[[0, 2]], after[[0, 2]])


@pytest.mark.parametrize("lengths", [[], [0], [1] * (4096 if CUDA else 30)], ids=["", "0", "ones"])
def test_batches_without_tokens_and_of_single_ones(lengths: list[int], encoder: Encoder) -> None:
    ids = texts(lengths)
    vectors = run(encoder, ids)
    assert vectors.shape == (len(lengths), encoder.dimensions)
    if len(lengths) > 1:
        assert np.array_equal(vectors, np.broadcast_to(vectors[0], vectors.shape))


def test_one_block_for_batch_after_batch(encoder: Encoder) -> None:
    """A block is used again, with what longer batches left in it, and gives what a new one gives."""
    ops = encoder.ops
    assert isinstance(ops, GpuOps)
    block = ops.block(100)
    host = block.host()
    for lengths in ([40, 20], [1] * 9, [], [3, 0, 20]):
        ids = texts(lengths, seed=len(lengths))
        flat = np.array([token for text in ids for token in text], dtype=np.int32)
        at = [i for text in ids for i in range(len(text))]
        block.fill(
            host,
            flat,
            np.array(at, dtype=np.int32),
            np.cumsum([0, *lengths], dtype=np.int32),
        )
        block.upload(host)
        with guarded():
            found = encoder.forward(block.batch)[: len(ids)]
        assert np.array_equal(found.cpu().numpy(), run(encoder, ids))
