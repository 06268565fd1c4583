"""gate_up_geglu: gelu_tanh(x gate^T) * (x up^T), the product never leaving the program."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.matmul import accumulate_pair, descriptor


@triton.jit
def gelu_tanh(x):
    """0.5 x (1 + tanh(y)), y = sqrt(2 / pi) (x + 0.044715 x^3) (arXiv:1606.08415), as x sigmoid(2 y):
    where exp overflows, the quotient is the 0 it should be."""
    return x / (1.0 + tl.exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)))


@triton.jit
def _gate_up_geglu_kernel(
    x_desc, w_desc, out_desc, counts_ptr,
    N: tl.constexpr, K: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    columns: tl.constexpr = tl.cdiv(N, BLOCK_N)
    tiles = tl.cdiv(tl.load(counts_ptr), BLOCK_M) * columns
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0)):
        row, column = tile // columns * BLOCK_M, tile % columns * BLOCK_N
        # Where N is no multiple of BLOCK_N, gate's last block runs into up's rows; the store ends at N.
        gate, up = accumulate_pair(
            x_desc, w_desc, row, column, N + column, K, BLOCK_M, BLOCK_N, BLOCK_K
        )
        out_desc.store([row, column], (gelu_tanh(gate) * up).to(out_desc.dtype))


def gate_up_geglu(plan: Plan, x: Tensor, gate_up_proj: Tensor) -> Tensor:
    """x [T, hidden], gate_up_proj [2 intermediate, hidden]: [T, intermediate] of x's dtype."""
    (rows, depth), columns = x.shape, len(gate_up_proj) // 2
    tile = plan.tiles.gate_up
    out = torch.empty(rows, columns, dtype=x.dtype, device=x.device)
    grid = plan.programs(tile.tiles(rows, 2 * columns), tile.per_multiprocessor)
    _gate_up_geglu_kernel[grid](
        descriptor(x, tile.block_m, tile.block_k),
        descriptor(gate_up_proj, tile.block_n, tile.block_k),
        descriptor(out, tile.block_m, tile.block_n),
        plan.counts,
        N=columns, K=depth,
        BLOCK_M=tile.block_m, BLOCK_N=tile.block_n, BLOCK_K=tile.block_k,
        num_warps=tile.num_warps, num_stages=tile.num_stages,
    )  # fmt: skip
    return out
