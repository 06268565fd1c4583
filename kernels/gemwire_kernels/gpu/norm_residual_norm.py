"""norm_residual_norm: a sublayer's post-norm, the residual sum, and the next sublayer's norm."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.rows import ROWS, rms_scale, row_grid, row_warps


@triton.jit
def _norm_residual_norm_kernel(
    y_ptr, residual_ptr, post_norm_ptr, next_norm_ptr, x_ptr, counts_ptr, eps,
    HIDDEN: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    mask = (row < tl.load(counts_ptr))[:, None] & (column < HIDDEN)[None, :]
    at = row.to(tl.int64)[:, None] * HIDDEN + column[None, :]
    y = tl.load(y_ptr + at, mask=mask, other=0.0).to(tl.float32)
    residual = tl.load(residual_ptr + at, mask=mask, other=0.0).to(tl.float32)
    post_norm = tl.load(post_norm_ptr + column, mask=column < HIDDEN, other=0.0)
    next_norm = tl.load(next_norm_ptr + column, mask=column < HIDDEN, other=0.0)
    y = y * rms_scale(y, HIDDEN, eps)[:, None] * post_norm[None, :]
    total = (residual + y).to(residual_ptr.dtype.element_ty)
    tl.store(residual_ptr + at, total, mask=mask)
    total = total.to(tl.float32)
    x = total * rms_scale(total, HIDDEN, eps)[:, None] * next_norm[None, :]
    tl.store(x_ptr + at, x.to(x_ptr.dtype.element_ty), mask=mask)


def norm_residual_norm(
    plan: Plan, y: Tensor, residual: Tensor, post_norm: Tensor, next_norm: Tensor, eps: float
) -> Tensor:
    """y [T, hidden]; residual [T, hidden], in place; the next norm of y's dtype."""
    rows, hidden = y.shape
    x = torch.empty_like(y)
    _norm_residual_norm_kernel[row_grid(rows)](
        y, residual, post_norm, next_norm, x, plan.counts, eps,
        HIDDEN=hidden, BLOCK=triton.next_power_of_2(hidden), ROWS=ROWS,
        num_warps=row_warps(hidden),
    )  # fmt: skip
    return x
