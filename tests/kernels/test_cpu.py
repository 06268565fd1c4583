"""The CPU's operations against the formulas: no further off than twice the reference's own rounding."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gemwire_kernels import reference
from gemwire_kernels.cpu import NativeOps, PortableOps
from gemwire_kernels.cpu.portable_ops import ROWS, in_few_sizes
from gemwire_kernels.ops import Ops, RotaryTable
from gemwire_kernels.tensors import FORMAT_OF, from_tensor
from support.kernels.cpu import needs_compiler, placed, values
from support.kernels.formulas import (
    EPS,
    geglu64,
    linear64,
    norm64,
    packed_attention64,
    rotate64,
)

MAKERS: dict[str, Callable[[torch.dtype], Ops]] = {
    "native": lambda dtype: NativeOps(dtype, weights=FORMAT_OF[dtype], threads=2, products=True),
    "oneDNN products": lambda dtype: NativeOps(
        dtype, weights=FORMAT_OF[dtype], threads=2, products=False
    ),
    "portable": lambda dtype: PortableOps(dtype, weights=FORMAT_OF[dtype]),
}
LENGTHS = [
    [], [0, 5, 0], [1], [1] * 9, [17, 16, 1, 18], [255, 256, 257, 258, 259], [511, 512, 513, 514],
    [2048],
]  # fmt: skip


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=["float32", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = getattr(torch, request.param)
    return chosen


@pytest.fixture(
    params=[pytest.param(name, marks=needs_compiler) for name in MAKERS if name != "portable"]
    + ["portable"]
)
def ops(request: pytest.FixtureRequest, dtype: torch.dtype) -> Ops:
    return MAKERS[request.param](dtype)


def assert_as_close(found: Tensor, eager: Tensor, truth: Tensor) -> None:
    assert found.shape == eager.shape and found.dtype == eager.dtype
    if not truth.numel():
        return
    theirs = (eager.double() - truth).abs().max()
    ours = (found.double() - truth).abs().max()
    assert ours <= 2 * theirs + 1e-6 * (1 + truth.abs().max()), f"{ours} against {theirs}"


@pytest.mark.parametrize("window", [None, 0, 1, 16, 256])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_attention(ops: Ops, dtype: torch.dtype, lengths: list[int], window: int | None) -> None:
    check_attention(ops, dtype, lengths, window, heads=3, kv_heads=1, dim=64)


@pytest.mark.parametrize("heads,kv_heads", [(3, 1), (4, 2), (2, 2)])
@pytest.mark.parametrize("dim", [32, 40, 64, 128, 256])
def test_attention_of_other_heads(
    ops: Ops, dtype: torch.dtype, heads: int, kv_heads: int, dim: int
) -> None:
    for window in (None, 16):
        check_attention(ops, dtype, [17, 1, 70], window, heads, kv_heads, dim)


def check_attention(
    ops: Ops,
    dtype: torch.dtype,
    lengths: list[int],
    window: int | None,
    heads: int,
    kv_heads: int,
    dim: int,
) -> None:
    tokens, scale, batch = sum(lengths), dim**-0.5, placed(lengths)
    q = torch.randn(tokens, heads, dim).to(dtype)
    k, v = (torch.randn(tokens, kv_heads, dim).to(dtype) for _ in range(2))
    found = ops.attention(batch, q, k, v, scale, window)
    eager = reference.attention(batch, q, k, v, scale, window)
    assert_as_close(found, eager, packed_attention64(lengths, q, k, v, scale, window))


def test_attention_to_extreme_scores(ops: Ops, dtype: torch.dtype) -> None:
    """Scores hundreds apart, all equal, and all zero: a softmax that is one key's, and everyone's."""
    for factor in (60.0, 0.0):
        q, k = (torch.randn(40, heads, 64).mul(factor).to(dtype) for heads in (3, 1))
        v, batch = values(40, 1, 64, dtype=dtype), placed([40])
        found = ops.attention(batch, q, k, v, 0.125, None)
        truth = packed_attention64([40], q, k, v, 0.125, None)
        assert_as_close(found, reference.attention(batch, q, k, v, 0.125, None), truth)


def test_nothing_outside_text_and_window_is_seen(ops: Ops, dtype: torch.dtype) -> None:
    q, k, v = (torch.randn(700, heads, 64).to(dtype) for heads in (3, 1, 1))
    batch, window = placed([90, 600, 10]), 100
    before = ops.attention(batch, q, k, v, 0.125, window)
    k[390], v[390] = 30, 1e4  # in the second text
    k[:90], v[690:] = torch.nan, torch.nan
    changed = (before != ops.attention(batch, q, k, v, 0.125, window)).any(dim=1)
    assert changed[:90].all() and changed[690:].all()
    reach = torch.arange(90, 690).sub(390).abs() <= window
    assert torch.equal(changed[90:690], reach)


def test_products_have_few_numbers_of_rows() -> None:
    """However many rows there are, and each row is in its place: whole numbers multiply exactly."""
    weight, seen = torch.randint(-9, 9, (5, 7)).float(), set()

    def multiply(x: Tensor) -> Tensor:
        seen.add(len(x))
        return x @ weight.T

    for rows in [0, 1, *(rows + more for rows in ROWS for more in (-1, 0, 1)), 1024, 1500]:
        x = torch.randint(-9, 9, (rows, 7)).float()
        assert torch.equal(in_few_sizes(multiply, x), x @ weight.T)
    assert seen == set(ROWS)


@pytest.mark.parametrize("rows", [0, 1, 13, 14, 15, 29, 300])
@pytest.mark.parametrize("columns,depth", [(768, 1152), (96, 96), (70, 36), (33, 7)])
def test_linear(ops: Ops, dtype: torch.dtype, rows: int, columns: int, depth: int) -> None:
    x, weight, batch = (
        values(rows, depth, dtype=dtype),
        values(columns, depth).to(dtype),
        placed([]),
    )
    found = ops.linear(batch, x, ops.pack(from_tensor(weight)))
    assert_as_close(found, reference.linear(batch, x, weight), linear64(x, weight))


@pytest.mark.parametrize("rows", [0, 1, 15, 300])
@pytest.mark.parametrize("middle", [1152, 112, 20])
def test_gate_up_geglu(ops: Ops, dtype: torch.dtype, rows: int, middle: int) -> None:
    x, weight = values(rows, 96, dtype=dtype), torch.randn(2 * middle, 96).to(dtype)
    found = ops.gate_up_geglu(placed([]), x, ops.pack(from_tensor(weight)))
    assert_as_close(found, reference.gate_up_geglu(placed([]), x, weight), geglu64(x, weight))


@pytest.mark.parametrize("heads,kv_heads,dim", [(3, 1, 256), (4, 2, 64), (3, 1, 32)])
@pytest.mark.parametrize("rows", [0, 1, 40])
def test_qkv_norm_rope(
    ops: Ops, dtype: torch.dtype, heads: int, kv_heads: int, dim: int, rows: int
) -> None:
    x = values(rows, 96, dtype=dtype)
    weight = torch.randn((heads + 2 * kv_heads) * dim, 96).to(dtype)
    q_norm, k_norm, angles = torch.randn(dim), torch.randn(dim), torch.rand(64, dim // 2) * 6
    positions = torch.randint(0, 64, (rows,))
    batch, rotary = placed([rows], positions=positions), RotaryTable(angles.cos(), angles.sin())
    found = ops.qkv_norm_rope(
        batch, x, ops.pack(from_tensor(weight)), q_norm, k_norm, rotary, heads, EPS
    )
    eager = reference.qkv_norm_rope(batch, x, weight, q_norm, k_norm, rotary, heads, EPS)
    stacked = linear64(x, weight).view(rows, heads + 2 * kv_heads, dim)
    q, k, v = torch.split(stacked, [heads, kv_heads, kv_heads], dim=1)
    turn = angles.double()[positions]
    expected = rotate64(norm64(q, q_norm), turn), rotate64(norm64(k, k_norm), turn), v
    for ours, theirs, truth in zip(found, eager, expected, strict=True):
        assert_as_close(ours, theirs, truth)


@pytest.mark.parametrize("rows", [0, 1, 8, 9, 40])
@pytest.mark.parametrize("hidden", [768, 96, 21])
def test_norms(ops: Ops, dtype: torch.dtype, rows: int, hidden: int) -> None:
    batch = placed([rows], ids=torch.randint(0, 50, (rows,)))
    table, post, after = values(50, hidden, dtype=dtype), torch.randn(hidden), torch.randn(hidden)
    residual, x = ops.embed_norm(batch, ops.pack_embedding(from_tensor(table)), 27.7, post, EPS)
    eager = reference.embed_norm(batch, table, 27.7, post, EPS)
    truth = table.double()[batch.input_ids] * 27.7
    assert_as_close(residual, eager[0], truth)
    assert_as_close(x, eager[1], norm64(truth, post))
    y, sums = values(rows, hidden, dtype=dtype), residual.clone()
    found = ops.norm_residual_norm(batch, y, residual, post, after, EPS)
    eager_x = reference.norm_residual_norm(batch, y, sums, post, after, EPS)
    truth = truth + norm64(y, post)
    assert_as_close(residual, sums, truth)
    assert_as_close(found, eager_x, norm64(truth, after))


@pytest.mark.parametrize("lengths", [[1], [1] * 9, [17, 16, 1, 18], [2048]], ids=str)
def test_pool_and_head(ops: Ops, lengths: list[int]) -> None:
    residual, norm, dense = values(sum(lengths), 96), torch.randn(96), torch.randn(64, 96)
    batch = placed(lengths)
    pooled = ops.pool(batch, residual, norm, EPS)
    parts = torch.split(norm64(residual, norm), lengths)
    truth = torch.stack([part.mean(0) for part in parts])
    assert_as_close(pooled, reference.pool(batch, residual, norm, EPS), truth)
    for rows in (64, 16):
        projected = linear64(pooled, dense[:rows])
        unit = projected / projected.norm(dim=-1, keepdim=True)
        found = ops.head(batch, pooled, dense[:rows])
        assert_as_close(found, reference.head(batch, pooled, dense[:rows]), unit)
        raw = ops.head(batch, pooled, dense[:rows], normalize=False)
        eager = reference.head(batch, pooled, dense[:rows], normalize=False)
        assert_as_close(raw, eager, projected)


def test_what_is_not_finite_comes_through(ops: Ops, dtype: torch.dtype) -> None:
    """A damaged weight or an overflow must show in the vector: the engine looks for it there."""
    batch, weight = placed([20]), torch.randn(64, 96).to(dtype)
    for bad in (torch.nan, torch.inf):
        x = torch.randn(20, 96).to(dtype)
        x[3, 5] = bad
        finite = torch.arange(20) != 3
        for found in (
            ops.linear(batch, x, ops.pack(from_tensor(weight))),
            ops.norm_residual_norm(
                batch, x, torch.zeros(20, 96), torch.ones(96), torch.ones(96), EPS
            ),
            ops.gate_up_geglu(batch, x, ops.pack(from_tensor(weight))),
        ):
            assert torch.equal(found.isfinite().all(dim=1), finite)
        assert not ops.pool(batch, x.float(), torch.ones(96), EPS).isfinite().all()


@needs_compiler
def test_a_row_does_not_depend_on_its_batch(dtype: torch.dtype) -> None:
    """To the bit: a sum's order is fixed by the weight, not by the number of rows."""
    ops = NativeOps(dtype, weights=FORMAT_OF[dtype], threads=2, products=True)
    if not ops.exact:
        pytest.skip("this CPU's products are oneDNN's")
    weight = ops.pack(from_tensor(torch.randn(2 * 112, 96).to(dtype)))
    x = torch.randn(300, 96).to(dtype)
    for operation in (ops.linear, ops.gate_up_geglu):
        whole = operation(placed([]), x, weight)
        for first, last in ((0, 1), (17, 30), (100, 250)):
            assert torch.equal(whole[first:last], operation(placed([]), x[first:last], weight))
