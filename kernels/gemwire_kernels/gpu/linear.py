"""linear: x w^T."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.launch import chain, chaining, fetch, fetched
from gemwire_kernels.gpu.matmul import halves, opened, operand


@triton.jit
def _linear_kernel(
    x, w, w_ptr, out, counts_ptr,
    N: tl.constexpr, K: tl.constexpr, FETCHED: tl.constexpr, FLATTEN: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    CHAINED: tl.constexpr, COPY_ENGINE: tl.constexpr,
):  # fmt: skip
    columns: tl.constexpr = tl.cdiv(N, 2 * BLOCK_N)
    fetch(w_ptr + tl.program_id(0) % columns * (2 * BLOCK_N * K), FETCHED)
    chain(CHAINED)
    num_tokens = tl.load(counts_ptr)
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


def linear(plan: Plan, x: Tensor, weight: Tensor) -> Tensor:
    """x [T, K] times weight [N, K], transposed: [T, N] of x's dtype."""
    (rows, depth), columns = x.shape, len(weight)
    tile = plan.tiles.linear
    out = torch.empty(rows, columns, dtype=x.dtype, device=x.device)
    tiles = tile.tiles(rows, columns)
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
