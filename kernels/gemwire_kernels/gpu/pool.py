"""pool: the mean over each text of the final norm, in fp32 and without atomics.

Tiles are summed apart, then each text's tiles in order, so that a long text does not wait for one program
and the order of a text's sums is its own.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.launch import await_inputs, chaining, release
from gemwire_kernels.gpu.rows import ROWS, rms_scale, row_warps

PROGRAMS_PER_MULTIPROCESSOR = 8


@triton.jit
def _sum_tiles_kernel(
    residual_ptr, norm_ptr, sums_ptr, cu_seqlens_ptr, tile_text_ptr, tile_row_ptr, counts_ptr, eps,
    TILE_ROWS: tl.constexpr, GROUP: tl.constexpr,
    HIDDEN: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    release(CHAINED)
    column = tl.arange(0, BLOCK)
    norm = tl.load(norm_ptr + column, mask=column < HIDDEN, other=0.0)
    num_tiles = tl.load(counts_ptr + 2)
    await_inputs(CHAINED)
    for tile in tl.range(tl.program_id(0), num_tiles, tl.num_programs(0)):
        text = tl.load(tile_text_ptr + tile)
        begin, row_of = tl.load(cu_seqlens_ptr + text), tl.load(tile_row_ptr + tile)
        # The tokens whose first row is the tile's.
        first = begin + tl.cdiv(row_of, GROUP)
        last = tl.minimum(
            begin + tl.cdiv(row_of + TILE_ROWS, GROUP), tl.load(cu_seqlens_ptr + text + 1)
        )
        total = tl.zeros((BLOCK,), tl.float32)
        for start in tl.range(first, last, ROWS):
            row = start + tl.arange(0, ROWS)
            mask = (row < last)[:, None] & (column < HIDDEN)[None, :]
            at = row.to(tl.int64)[:, None] * HIDDEN + column[None, :]
            x = tl.load(residual_ptr + at, mask=mask, other=0.0).to(tl.float32)
            total += tl.sum(x * rms_scale(x, HIDDEN, eps)[:, None], 0)
        tl.store(sums_ptr + tile * HIDDEN + column, total * norm, mask=column < HIDDEN)


@triton.jit
def _mean_kernel(
    sums_ptr, out_ptr, cu_seqlens_ptr, cu_tiles_ptr, counts_ptr,
    HIDDEN: tl.constexpr, BLOCK: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    release(CHAINED)
    column = tl.arange(0, BLOCK)
    mask = column < HIDDEN
    num_texts = tl.load(counts_ptr + 1)
    await_inputs(CHAINED)
    for text in tl.range(tl.program_id(0), num_texts, tl.num_programs(0)):
        total = tl.zeros((BLOCK,), tl.float32)
        for tile in tl.range(tl.load(cu_tiles_ptr + text), tl.load(cu_tiles_ptr + text + 1)):
            total += tl.load(sums_ptr + tile * HIDDEN + column, mask=mask, other=0.0)
        length = tl.load(cu_seqlens_ptr + text + 1) - tl.load(cu_seqlens_ptr + text)
        mean = total / tl.maximum(length, 1).to(tl.float32)
        tl.store(out_ptr + text * HIDDEN + column, mean, mask=mask)


def pool(plan: Plan, residual: Tensor, norm: Tensor, cu_seqlens: Tensor, eps: float) -> Tensor:
    """residual [T, hidden]: fp32 [n, hidden]; an empty text's mean is zero."""
    hidden, texts = residual.shape[1], len(cu_seqlens) - 1
    sums = torch.empty(len(plan.tile_text), hidden, dtype=torch.float32, device=residual.device)
    out = torch.empty(texts, hidden, dtype=torch.float32, device=residual.device)
    block = triton.next_power_of_2(hidden)
    _sum_tiles_kernel[plan.programs(len(sums), PROGRAMS_PER_MULTIPROCESSOR)](
        residual, norm, sums, cu_seqlens, plan.tile_text, plan.tile_row, plan.counts, eps,
        TILE_ROWS=plan.tiles.attention.block_m, GROUP=plan.group,
        HIDDEN=hidden, BLOCK=block, ROWS=ROWS, num_warps=row_warps(hidden, ROWS), **chaining(plan),
    )  # fmt: skip
    _mean_kernel[plan.programs(texts, PROGRAMS_PER_MULTIPROCESSOR)](
        sums, out, cu_seqlens, plan.cu_tiles, plan.counts,
        HIDDEN=hidden, BLOCK=block, num_warps=row_warps(hidden), **chaining(plan),
    )  # fmt: skip
    return out
