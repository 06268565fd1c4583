"""gate_up_geglu: gelu_tanh(x gate^T) * (x up^T), the product never leaving the program."""

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


@triton.jit
def gelu_tanh(x):
    """0.5 x (1 + tanh(y)), y = sqrt(2 / pi) (x + 0.044715 x^3) (arXiv:1606.08415), as x sigmoid(2 y):
    where exp overflows, the quotient is the 0 it should be."""
    return x / (1.0 + tl.exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)))


@triton.jit
def _gate_up_geglu_kernel(
    x, w, w_ptr, out, counts_ptr,
    N: tl.constexpr, K: tl.constexpr, FETCHED: tl.constexpr, FLATTEN: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    CHAINED: tl.constexpr, COPY_ENGINE: tl.constexpr,
):  # fmt: skip
    release(CHAINED)
    columns: tl.constexpr = tl.cdiv(N, BLOCK_N)
    w_ptr += tl.program_id(0) % columns * (BLOCK_N * K)
    fetch(w_ptr, FETCHED)
    fetch(w_ptr + N * K, FETCHED)
    num_tokens = tl.load(counts_ptr)
    await_inputs(CHAINED)
    x = opened(x, (num_tokens, K), (K, 1), (BLOCK_M, BLOCK_K), COPY_ENGINE)
    w = opened(w, (2, N, K), (N * K, K, 1), (2, BLOCK_N, BLOCK_K), COPY_ENGINE)
    out = opened(out, (num_tokens, N), (N, 1), (BLOCK_M, BLOCK_N), COPY_ENGINE)
    tiles = tl.cdiv(num_tokens, BLOCK_M) * columns
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), flatten=FLATTEN):
        row, column = tile // columns * BLOCK_M, tile % columns * BLOCK_N
        gate_and_up = tl.zeros((BLOCK_M, 2 * BLOCK_N), tl.float32)
        for k in range(0, K, BLOCK_K):
            both = w.load([0, column, k]).reshape(2 * BLOCK_N, BLOCK_K)
            gate_and_up = tl.dot(x.load([row, k]), both.T, gate_and_up, input_precision="ieee")
        gate, up = halves(gate_and_up, BLOCK_M, 2 * BLOCK_N)
        out.store([row, column], (gelu_tanh(gate) * up).to(out.dtype))


@triton.jit
def _gate_up_geglu_at_once_kernel(
    x_ptr, w_ptr, out_ptr, counts_ptr,
    N: tl.constexpr, K: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    release(CHAINED)
    columns: tl.constexpr = tl.cdiv(N, BLOCK_N)
    row = tl.program_id(0) // columns * BLOCK_M + tl.arange(0, BLOCK_M)
    first = tl.program_id(0) % columns * BLOCK_N
    num_tokens = tl.load(counts_ptr)
    both = tl.arange(0, 2 * BLOCK_N)
    rows_of_w = both // BLOCK_N * N + first + both % BLOCK_N
    w = load_rows(w_ptr, rows_of_w, first + both % BLOCK_N < N, K, BLOCK_K)
    await_inputs(CHAINED)
    gate_and_up = times_rows(x_ptr, row, row < num_tokens, w, K, BLOCK_M, 2 * BLOCK_N, BLOCK_K)
    gate, up = halves(gate_and_up, BLOCK_M, 2 * BLOCK_N)
    column = first + tl.arange(0, BLOCK_N)
    store_inside(out_ptr, gelu_tanh(gate) * up, row, num_tokens, column, N)


def gate_up_geglu(plan: Plan, x: Tensor, gate_up_proj: Tensor) -> Tensor:
    """x [T, hidden], gate_up_proj [2 intermediate, hidden]: [T, intermediate] of x's dtype."""
    (rows, depth), columns = x.shape, len(gate_up_proj) // 2
    tile = plan.tiles.gate_up
    out = torch.empty(rows, columns, dtype=x.dtype, device=x.device)
    tiles = tile.tiles(rows, 2 * columns)
    if tile.at_once:
        _gate_up_geglu_at_once_kernel[tiles,](
            x, gate_up_proj, out, plan.counts,
            N=columns, K=depth,
            BLOCK_M=tile.block_m, BLOCK_N=tile.block_n, BLOCK_K=tile.block_k,
            num_warps=tile.num_warps, **chaining(plan),
        )  # fmt: skip
        return out
    grid = plan.programs(tiles, tile.per_multiprocessor)
    _gate_up_geglu_kernel[grid](
        operand(plan, x, tile.block_m, tile.block_k),
        operand(plan, gate_up_proj.view(2, columns, depth), 2, tile.block_n, tile.block_k), gate_up_proj,
        operand(plan, out, tile.block_m, tile.block_n),
        plan.counts,
        N=columns, K=depth, FETCHED=fetched(plan, gate_up_proj[:columns], tile.block_n),
        FLATTEN=tiles > grid[0],
        BLOCK_M=tile.block_m, BLOCK_N=tile.block_n, BLOCK_K=tile.block_k,
        num_warps=tile.num_warps, num_stages=tile.num_stages,
        COPY_ENGINE=plan.copy_engine, **chaining(plan),
    )  # fmt: skip
    return out
