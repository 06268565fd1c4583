"""Attention over the lengths, windows and head counts at which its tiles change."""

import math

import pytest
import torch
from torch import Tensor

from gemwire_kernels import reference
from gemwire_kernels.gpu import GpuOps
from gemwire_kernels.gpu.attention import MASKED_SCORE
from gemwire_kernels.ops import Batch
from support.kernels import exact
from support.kernels.setting import (
    BUCKETS,
    CUDA,
    DEVICE,
    DTYPES,
    assert_no_worse,
    beyond,
    guarded,
    make_ops,
    only_on_cuda,
    placed,
    placed_for_reference,
    runs_kernels,
)

pytestmark = runs_kernels

# Heads, kv heads, head_dim and window.
GEOMETRIES = [
    *((heads, kv, 64, window) for heads, kv in [(3, 1), (4, 2)] for window in (None, 0, 1, 4, 16)),
    *((2, 2, 32, window) for window in (None, 4)),
    *((1, 1, 128, window) for window in (None, 16)),
    *((4, 1, 256, window) for window in (None, 1)),
]
# Over the interpreter's tiles of 16 rows and 16 keys, and around windows of 1, 4 and 16.
MIXED = [3, 0, 1, 17, 16, 2, 15, 5, 6, 4, 9, 10, 0, 34]
FINITE = 3e38  # what may lie in v where no text is: nothing but finite values is ever written to it


def draw(
    tokens: int, heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    q, k, v = (torch.randn(tokens, n, head_dim) for n in (heads, kv_heads, kv_heads))
    return q.to(dtype), k.to(dtype), v.to(dtype)


def run(
    ops: GpuOps, batch: Batch, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
) -> Tensor:
    """The batch's rows alone; q and k are NaN beyond them."""
    with guarded():
        out = ops.attention(
            batch, beyond(batch, q), beyond(batch, k), beyond(batch, v, FINITE), scale, window
        )
    return out[: len(q)]


def check(
    ops: GpuOps,
    lengths: list[int],
    qkv: tuple[Tensor, Tensor, Tensor],
    window: int | None,
    capacity: int = 0,
) -> None:
    q, k, v = qkv
    scale = q.shape[2] ** -0.5
    found = run(ops, placed(ops, lengths, capacity=capacity), q, k, v, scale, window)
    eager = reference.attention(placed_for_reference(lengths), q, k, v, scale, window)
    q, k, v = q.to(DEVICE), k.to(DEVICE), v.to(DEVICE)
    texts = [
        exact.attention(q[a:b], k[a:b], v[a:b], scale, window) for a, b in exact.bounds(lengths)
    ]
    expected = torch.cat(texts) if texts else eager.double()
    assert_no_worse(found, eager, expected)


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("heads,kv_heads,head_dim,window", GEOMETRIES)
def test_head_counts_and_windows(
    heads: int, kv_heads: int, head_dim: int, window: int | None, dtype: torch.dtype, bucket: int
) -> None:
    ops = make_ops(heads, kv_heads, head_dim, dtype=dtype)
    qkv = draw(sum(MIXED), heads, kv_heads, head_dim, dtype)
    check(ops, MIXED, qkv, window, bucket)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "tile,lengths",
    [
        ((64, 32), [20, 21, 22, 31, 32, 33, 41, 42, 43]),
        ((128, 64), [63, 64, 65, 41, 42, 43, 83, 84, 85]),
        ((128, 64), [127, 128, 129, 1]),
    ],
)
@pytest.mark.parametrize("window", [None, 16])
def test_served_tiles(
    tile: tuple[int, int], lengths: list[int], window: int | None, dtype: torch.dtype
) -> None:
    """With three heads to a kv head, tiles of 64 and 128 rows end amid a token."""
    ops = make_ops(3, 1, 256, dtype=dtype, tile=tile)
    check(ops, lengths, draw(sum(lengths), 3, 1, 256, dtype), window)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [None, 256])
@pytest.mark.parametrize("lengths", [[255, 256, 257, 258, 259], [511, 512, 513, 514]])
def test_served_window(lengths: list[int], window: int | None, dtype: torch.dtype) -> None:
    ops = make_ops(3, 1, 32, dtype=dtype, tile=(128, 64))
    check(ops, lengths, draw(sum(lengths), 3, 1, 32, dtype), window)


def test_longest_text_between_the_shortest() -> None:
    ops = make_ops(1, 1, 32, tile=(128, 128))
    check(ops, [1, 2048, 1], draw(2050, 1, 1, 32, torch.float32), 256)


@only_on_cuda
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [None, 256])
@pytest.mark.parametrize(
    "lengths",
    [[2048] * 8, [1] * 4096, [1023, 1, 2047, 0, 2048], [16896 // 132] * 132],
    ids=["longest", "shortest", "mixed", "full"],
)
def test_full_batches(lengths: list[int], window: int | None, dtype: torch.dtype) -> None:
    ops = make_ops(3, 1, 256, dtype=dtype)
    check(ops, lengths, draw(sum(lengths), 3, 1, 256, dtype), window)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", [[], [0], [0, 5, 0], [1], [1] * 9])
def test_few_tokens(lengths: list[int], dtype: torch.dtype) -> None:
    ops = make_ops(3, 1, 32, dtype=dtype)
    check(ops, lengths, draw(sum(lengths), 3, 1, 32, dtype), None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("kind", ["far apart", "outliers", "ties", "zeros", "falling"])
def test_values(kind: str, window: int | None, dtype: torch.dtype) -> None:
    ops = make_ops(3, 1, 32, dtype=dtype)
    lengths = [7, 40, 18]
    q, k, v = draw(65, 3, 1, 32, dtype)
    if kind == "far apart":  # scores hundreds apart: all weights but one are zero
        q, k = q * 30, k * 10
        scores = q[:7, 0].float() @ k[:7, 0].float().T * 32**-0.5
        assert scores.max() - scores.min() > 200
    elif kind == "outliers":
        q[..., :4] *= 100
        v[..., :4] *= 100
    elif kind == "ties":
        k[:] = k[:1].clone()
    elif kind == "zeros":
        q[:], v[20:50] = 0, 0
    else:  # scores so low that weights of an earlier block would drown them, were they not taken back
        q, k = q.abs(), -k.abs() * torch.arange(1.0, 66)[:, None, None].to(dtype)
    check(ops, lengths, (q, k, v), window)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window,tile", [(4, (16, 16)), (16, (16, 16)), (256, (128, 64))])
def test_sees_the_edge_of_the_window_and_nothing_beyond(
    window: int, tile: tuple[int, int], dtype: torch.dtype
) -> None:
    tokens, at = 2 * window + 30, window + 7
    ops = make_ops(3, 1, 32, dtype=dtype, tile=tile)
    q, k, v = draw(tokens, 3, 1, 32, dtype)
    batch = placed(ops, [tokens])
    before = run(ops, batch, q, k, v, 0.1, window)
    v[at] += 100
    after = run(ops, batch, q, k, v, 0.1, window)
    reach = (torch.arange(tokens) - at).abs() <= window
    assert torch.equal((before != after).any(dim=1).cpu(), reach)
    # A key out of reach may be anything that is finite.
    k[at] = 1e4
    after = run(ops, batch, q, k, v, 0.1, window)
    assert torch.equal(before[~reach], after[~reach])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("heads,kv_heads", [(3, 1), (4, 2)])
def test_what_a_neighbour_holds_changes_no_bit(
    heads: int, kv_heads: int, window: int | None, dtype: torch.dtype
) -> None:
    """Not even NaN in its queries and keys, nor the largest values there are."""
    ops = make_ops(heads, kv_heads, 32, dtype=dtype)
    q, k, v = draw(58, heads, kv_heads, 32, dtype)
    batch = placed(ops, [19, 20, 1, 18])
    before = run(ops, batch, q, k, v, 0.2, window)
    q[19:39], k[19:39], v[19:39] = torch.nan, torch.nan, -FINITE
    after = run(ops, batch, q, k, v, 0.2, window)
    assert torch.equal(before[:19], after[:19]) and torch.equal(before[39:], after[39:])
    assert after[19:39].isnan().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("heads,kv_heads", [(3, 1), (4, 2)])
def test_a_text_has_the_same_bits_wherever_it_is(
    heads: int, kv_heads: int, window: int | None, dtype: torch.dtype
) -> None:
    """Behind neighbours of each length that moves it over the tiles, in buckets of every size."""
    ops = make_ops(heads, kv_heads, 32, dtype=dtype)
    length = 37
    text = draw(length, heads, kv_heads, 32, dtype)
    alone = run(ops, placed(ops, [length]), *text, 0.2, window)
    before = list(range(128)) if CUDA else [1, 2, 15, 16, 21]
    for count, bucket in [(n, 0) for n in before] + [(9, n) for n in (100, 1024, 5000)]:
        torch.manual_seed(count)
        others = [torch.randn(count, *t.shape[1:]).to(dtype) for t in text]
        packed = [torch.cat((o, t, o)) for o, t in zip(others, text, strict=True)]
        batch = placed(ops, [count, length, count], capacity=bucket)
        found = run(ops, batch, packed[0], packed[1], packed[2], 0.2, window)
        assert torch.equal(found[count : count + length], alone)


def test_a_masked_score_is_exact_times_any_scale() -> None:
    """GPUs fuse score * scale - top * scale, and the interpreter does not: of a product that is rounded,
    a row that is masked whole would be left the rounding, and its weights would be infinite."""
    fraction, _ = math.frexp(MASKED_SCORE.value)
    assert fraction == -0.5 and MASKED_SCORE.value < -1e30


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("heads,kv_heads", [(3, 1), (4, 2)])
def test_a_tile_writes_its_own_rows_alone(heads: int, kv_heads: int, dtype: torch.dtype) -> None:
    """A token's heads may be in two tiles: two programs must not race."""
    ops = make_ops(heads, kv_heads, 32, dtype=dtype)
    batch = placed(ops, [60])
    batch.plan.counts[2] = 1
    out = run(ops, batch, *draw(60, heads, kv_heads, 32, dtype), 0.2, 4)
    group, written = heads // kv_heads, batch.plan.tiles.attention.block_m
    rows = out.view(len(out), kv_heads, group, 32).transpose(0, 1).flatten(1, 2)
    assert rows[:, :written].isfinite().all() and rows[:, written:].isnan().all()
