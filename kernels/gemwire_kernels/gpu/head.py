"""head: the folded Dense layers and L2, in fp32.

A product of two fp32 numbers is three of tf32 parts (tf32x3) on the tensor cores: as near to fp64 as fp32
additions are, and on an H200 two to seven times as fast as those.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.launch import chain, chaining
from gemwire_kernels.gpu.rows import ROWS, row_warps

PROGRAMS_PER_MULTIPROCESSOR = 4
# Few columns a program, so that all multiprocessors read the matrix even for a single text.
BLOCK_M, BLOCK_N, BLOCK_K = 16, 32, 64


@triton.jit
def _dense_kernel(
    x_ptr, w_ptr, out_ptr, counts_ptr,
    N: tl.constexpr, K: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
    CHAINED: tl.constexpr,
):  # fmt: skip
    chain(CHAINED)
    columns: tl.constexpr = tl.cdiv(N, BLOCK_N)
    num_texts = tl.load(counts_ptr + 1)
    tiles = tl.cdiv(num_texts, BLOCK_M) * columns
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0)):
        row = tile // columns * BLOCK_M + tl.arange(0, BLOCK_M)
        column = tile % columns * BLOCK_N + tl.arange(0, BLOCK_N)
        total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for start in range(0, K, BLOCK_K):
            k = start + tl.arange(0, BLOCK_K)
            x_at = row.to(tl.int64)[:, None] * K + k[None, :]
            x_mask = (row < num_texts)[:, None] & (k < K)[None, :]
            x = tl.load(x_ptr + x_at, mask=x_mask, other=0.0)
            w_mask = (column < N)[:, None] & (k < K)[None, :]
            w = tl.load(w_ptr + column[:, None] * K + k[None, :], mask=w_mask, other=0.0)
            total = tl.dot(x, w.T, total, input_precision=PRECISION)
        mask = (row < num_texts)[:, None] & (column < N)[None, :]
        tl.store(out_ptr + row.to(tl.int64)[:, None] * N + column[None, :], total, mask=mask)


@triton.jit
def _normalize_kernel(
    x_ptr, counts_ptr,
    N: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    """Divides each row x by max(|x|, 1e-12), in place, as torch.nn.functional.normalize does."""
    chain(CHAINED)
    column = tl.arange(0, BLOCK)
    num_texts = tl.load(counts_ptr + 1)
    for start in tl.range(tl.program_id(0) * ROWS, num_texts, tl.num_programs(0) * ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < num_texts)[:, None] & (column < N)[None, :]
        at = row.to(tl.int64)[:, None] * N + column[None, :]
        x = tl.load(x_ptr + at, mask=mask, other=0.0)
        length = tl.sqrt_rn(tl.sum(x * x, 1))
        tl.store(x_ptr + at, x / tl.maximum(length, 1e-12)[:, None], mask=mask)


def head(plan: Plan, pooled: Tensor, dense: Tensor) -> Tensor:
    """pooled fp32 [n, hidden], dense fp32 [dimensions, hidden]: fp32 [n, dimensions], each row of length
    one."""
    (rows, depth), columns = pooled.shape, len(dense)
    out = torch.empty(rows, columns, dtype=torch.float32, device=pooled.device)
    tiles = triton.cdiv(rows, BLOCK_M) * triton.cdiv(columns, BLOCK_N)
    _dense_kernel[plan.programs(tiles, PROGRAMS_PER_MULTIPROCESSOR)](
        pooled, dense, out, plan.counts,
        N=columns, K=depth, BLOCK_M=BLOCK_M, BLOCK_N=BLOCK_N, BLOCK_K=BLOCK_K, PRECISION="tf32x3",
        num_warps=4, num_stages=4, **chaining(plan),
    )  # fmt: skip
    grid = plan.programs(triton.cdiv(rows, ROWS), PROGRAMS_PER_MULTIPROCESSOR)
    _normalize_kernel[grid](
        out, plan.counts,
        N=columns, BLOCK=triton.next_power_of_2(columns), ROWS=ROWS,
        num_warps=row_warps(columns, ROWS), **chaining(plan),
    )  # fmt: skip
    return out
