"""head: the folded Dense layers and L2, in fp32.

A product of two fp32 numbers is three of tf32 parts (tf32x3) on the tensor cores: as near to fp64 as fp32
additions are, and on an H200 two to seven times as fast as those. A sum over K is PARTS sums beside one
another, as instructions that add to the same sum wait for one another.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.launch import await_inputs, chaining, fetch, fetched, release
from gemwire_kernels.gpu.matmul import store_inside
from gemwire_kernels.gpu.rows import ROWS, row_warps

PROGRAMS_PER_MULTIPROCESSOR = 4
BLOCK_M, BLOCK_K, PARTS = 16, 32, 4
# Columns of a program: for few texts fewer, so that more multiprocessors read the matrix.
FEW_TEXTS = 128
BLOCK_N, BLOCK_N_OF_FEW = 32, 16


@triton.jit
def _dense_kernel(
    x_ptr, w_ptr, out_ptr, counts_ptr,
    N: tl.constexpr, K: tl.constexpr, PART: tl.constexpr, FETCHED: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PARTS: tl.constexpr,
    PRECISION: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    """x w^T; part p of a sum goes over K from p * PART on."""
    release(CHAINED)
    columns: tl.constexpr = tl.cdiv(N, BLOCK_N)
    fetch(w_ptr + tl.program_id(0) % columns * (BLOCK_N * K), FETCHED)
    num_texts = tl.load(counts_ptr + 1)
    await_inputs(CHAINED)
    tiles = tl.cdiv(num_texts, BLOCK_M) * columns
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0)):
        row = tile // columns * BLOCK_M + tl.arange(0, BLOCK_M)
        column = tile % columns * BLOCK_N + tl.arange(0, BLOCK_N)
        totals = tl.zeros((PARTS, BLOCK_M, BLOCK_N), tl.float32)
        for start in range(0, PART, BLOCK_K):
            k = tl.arange(0, PARTS)[:, None, None] * PART + start + tl.arange(0, BLOCK_K)
            x_mask = (row < num_texts)[None, :, None] & (k < K)
            x = tl.load(x_ptr + row.to(tl.int64)[None, :, None] * K + k, mask=x_mask, other=0.0)
            w_mask = (column < N)[None, :, None] & (k < K)
            w = tl.load(w_ptr + column[None, :, None] * K + k, mask=w_mask, other=0.0)
            totals = tl.dot(x, tl.permute(w, (0, 2, 1)), totals, input_precision=PRECISION)
        total = tl.sum(totals, 0)
        store_inside(out_ptr, total, row, num_texts, column, N)


@triton.jit
def _normalize_kernel(
    x_ptr, counts_ptr,
    N: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    """Divides each row x by max(|x|, 1e-12), in place, as torch.nn.functional.normalize does."""
    release(CHAINED)
    column = tl.arange(0, BLOCK)
    num_texts = tl.load(counts_ptr + 1)
    await_inputs(CHAINED)
    for start in tl.range(tl.program_id(0) * ROWS, num_texts, tl.num_programs(0) * ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < num_texts)[:, None] & (column < N)[None, :]
        at = row.to(tl.int64)[:, None] * N + column[None, :]
        x = tl.load(x_ptr + at, mask=mask, other=0.0)
        length = tl.sqrt_rn(tl.sum(x * x, 1))
        tl.store(x_ptr + at, x / tl.maximum(length, 1e-12)[:, None], mask=mask)


def part_of(depth: int, block_k: int, parts: int) -> int:
    """Returns the length of each of the parts of a sum, whole blocks."""
    return triton.cdiv(depth, block_k * parts) * block_k


def head(plan: Plan, pooled: Tensor, dense: Tensor, *, normalize: bool = True) -> Tensor:
    """pooled fp32 [n, hidden], dense fp32 [dimensions, hidden]: fp32 [n, dimensions]. With `normalize` each
    row has length one."""
    (rows, depth), columns = pooled.shape, len(dense)
    out = torch.empty(rows, columns, dtype=torch.float32, device=pooled.device)
    block_n = BLOCK_N_OF_FEW if rows <= FEW_TEXTS else BLOCK_N
    tiles = triton.cdiv(rows, BLOCK_M) * triton.cdiv(columns, block_n)
    _dense_kernel[plan.programs(tiles, PROGRAMS_PER_MULTIPROCESSOR)](
        pooled, dense, out, plan.counts,
        N=columns, K=depth, PART=part_of(depth, BLOCK_K, PARTS), FETCHED=fetched(plan, dense, block_n),
        BLOCK_M=BLOCK_M, BLOCK_N=block_n, BLOCK_K=BLOCK_K, PARTS=PARTS, PRECISION="tf32x3",
        num_warps=4, num_stages=4, **chaining(plan),
    )  # fmt: skip
    if not normalize:
        return out
    grid = plan.programs(triton.cdiv(rows, ROWS), PROGRAMS_PER_MULTIPROCESSOR)
    _normalize_kernel[grid](
        out, plan.counts,
        N=columns, BLOCK=triton.next_power_of_2(columns), ROWS=ROWS,
        num_warps=row_warps(columns, ROWS), **chaining(plan),
    )  # fmt: skip
    return out
