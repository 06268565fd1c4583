"""gate_up_geglu: gelu_tanh(x gate^T) * (x up^T), the product never leaving the program."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.launch import chain, chaining, fetch, fetched
from gemwire_kernels.gpu.matmul import descriptor, halves


@triton.jit
def gelu_tanh(x):
    """0.5 x (1 + tanh(y)), y = sqrt(2 / pi) (x + 0.044715 x^3) (arXiv:1606.08415), as x sigmoid(2 y):
    where exp overflows, the quotient is the 0 it should be."""
    return x / (1.0 + tl.exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)))


@triton.jit
def _gate_up_geglu_kernel(
    x_desc, w_desc, w_ptr, out_desc, counts_ptr,
    N: tl.constexpr, K: tl.constexpr, FETCHED: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    columns: tl.constexpr = tl.cdiv(N, BLOCK_N)
    w_ptr += tl.program_id(0) % columns * (BLOCK_N * K)
    fetch(w_ptr, FETCHED)
    fetch(w_ptr + N * K, FETCHED)
    chain(CHAINED)
    tiles = tl.cdiv(tl.load(counts_ptr), BLOCK_M) * columns
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), flatten=True):
        row, column = tile // columns * BLOCK_M, tile % columns * BLOCK_N
        gate_and_up = tl.zeros((BLOCK_M, 2 * BLOCK_N), tl.float32)
        for k in range(0, K, BLOCK_K):
            w = w_desc.load([0, column, k]).reshape(2 * BLOCK_N, BLOCK_K)
            x = x_desc.load([row, k])
            gate_and_up = tl.dot(x, w.T, gate_and_up, input_precision="ieee")
        gate, up = halves(gate_and_up, BLOCK_M, 2 * BLOCK_N)
        out_desc.store([row, column], (gelu_tanh(gate) * up).to(out_desc.dtype))


def gate_up_geglu(plan: Plan, x: Tensor, gate_up_proj: Tensor) -> Tensor:
    """x [T, hidden], gate_up_proj [2 intermediate, hidden]: [T, intermediate] of x's dtype."""
    (rows, depth), columns = x.shape, len(gate_up_proj) // 2
    tile = plan.tiles.gate_up
    out = torch.empty(rows, columns, dtype=x.dtype, device=x.device)
    grid = plan.programs(tile.tiles(rows, 2 * columns), tile.per_multiprocessor)
    _gate_up_geglu_kernel[grid](
        descriptor(x, tile.block_m, tile.block_k),
        descriptor(gate_up_proj.view(2, columns, depth), 2, tile.block_n, tile.block_k), gate_up_proj,
        descriptor(out, tile.block_m, tile.block_n),
        plan.counts,
        N=columns, K=depth, FETCHED=fetched(plan, gate_up_proj[:columns], tile.block_n),
        BLOCK_M=tile.block_m, BLOCK_N=tile.block_n, BLOCK_K=tile.block_k,
        num_warps=tile.num_warps, num_stages=tile.num_stages, **chaining(plan),
    )  # fmt: skip
    return out
