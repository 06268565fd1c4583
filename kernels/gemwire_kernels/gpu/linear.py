"""linear: x w^T."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.launch import await_inputs, chaining, fetch, fetched, release
from gemwire_kernels.gpu.matmul import (
    halves,
    load_rows,
    opened,
    operand,
    store_inside,
    times_rows,
)
from gemwire_kernels.gpu.tiles import MatmulTile


@triton.jit
def _linear_kernel(
    x, w, w_ptr, out, counts_ptr,
    N: tl.constexpr, K: tl.constexpr, FETCHED: tl.constexpr, FLATTEN: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    CHAINED: tl.constexpr, COPY_ENGINE: tl.constexpr,
):  # fmt: skip
    release(CHAINED)
    columns: tl.constexpr = tl.cdiv(N, 2 * BLOCK_N)
    fetch(w_ptr + tl.program_id(0) % columns * (2 * BLOCK_N * K), FETCHED)
    num_tokens = tl.load(counts_ptr)
    await_inputs(CHAINED)
    x = opened(x, (num_tokens, K), (K, 1), (BLOCK_M, BLOCK_K), COPY_ENGINE)
    w = opened(w, (N, K), (K, 1), (2 * BLOCK_N, BLOCK_K), COPY_ENGINE)
    out = opened(out, (num_tokens, N), (N, 1), (BLOCK_M, BLOCK_N), COPY_ENGINE)
    tiles = tl.cdiv(num_tokens, BLOCK_M) * columns
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), flatten=FLATTEN):
        row, first = tile // columns * BLOCK_M, tile % columns * (2 * BLOCK_N)
        total = tl.zeros((BLOCK_M, 2 * BLOCK_N), tl.float32)
        for k in range(0, K, BLOCK_K):
            # float32 weights are for exactness: not through tf32.
            total = tl.dot(x.load([row, k]), w.load([first, k]).T, total, input_precision="ieee")
        one, two = halves(total, BLOCK_M, 2 * BLOCK_N)
        out.store([row, first], one.to(out.dtype))
        out.store([row, first + BLOCK_N], two.to(out.dtype))


@triton.jit
def _linear_at_once_kernel(
    x_ptr, w_ptr, out_ptr, counts_ptr,
    N: tl.constexpr, K: tl.constexpr,
    BLOCK_M: tl.constexpr, COLUMNS: tl.constexpr, BLOCK_K: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    release(CHAINED)
    columns: tl.constexpr = tl.cdiv(N, COLUMNS)
    row = tl.program_id(0) // columns * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(0) % columns * COLUMNS + tl.arange(0, COLUMNS)
    num_tokens = tl.load(counts_ptr)
    w = load_rows(w_ptr, column, column < N, K, BLOCK_K)
    await_inputs(CHAINED)
    total = times_rows(x_ptr, row, row < num_tokens, w, K, BLOCK_M, COLUMNS, BLOCK_K)
    store_inside(out_ptr, total, row, num_tokens, column, N)


def linear(plan: Plan, x: Tensor, weight: Tensor) -> Tensor:
    """x [T, K] times weight [N, K], transposed: [T, N] of x's dtype."""
    return product(plan, x, weight, plan.tiles.linear, x.dtype)


def product(plan: Plan, x: Tensor, weight: Tensor, tile: MatmulTile, dtype: torch.dtype) -> Tensor:
    """Computes `linear` with the caller's tile and dtype of the output."""
    (rows, depth), columns = x.shape, len(weight)
    out = torch.empty(rows, columns, dtype=dtype, device=x.device)
    tiles = tile.tiles(rows, columns)
    if tile.at_once:
        _linear_at_once_kernel[tiles,](
            x, weight, out, plan.counts,
            N=columns, K=depth,
            BLOCK_M=tile.block_m, COLUMNS=2 * tile.block_n, BLOCK_K=tile.block_k,
            num_warps=tile.num_warps, **chaining(plan),
        )  # fmt: skip
        return out
    grid = plan.programs(tiles, tile.per_multiprocessor)
    _linear_kernel[grid](
        operand(plan, x, tile.block_m, tile.block_k),
        operand(plan, weight, 2 * tile.block_n, tile.block_k), weight,
        operand(plan, out, tile.block_m, tile.block_n),
        plan.counts,
        N=columns, K=depth, FETCHED=fetched(plan, weight, 2 * tile.block_n),
        FLATTEN=tiles > grid[0],
        BLOCK_M=tile.block_m, BLOCK_N=tile.block_n, BLOCK_K=tile.block_k,
        num_warps=tile.num_warps, num_stages=tile.num_stages,
        COPY_ENGINE=plan.copy_engine, **chaining(plan),
    )  # fmt: skip
    return out
