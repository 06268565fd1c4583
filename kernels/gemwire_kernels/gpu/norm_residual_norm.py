"""norm_residual_norm: a sublayer's post-norm, the residual sum, and the next sublayer's norm."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.launch import await_inputs, chaining, release
from gemwire_kernels.gpu.rows import rms_scale, row_warps


@triton.jit
def _norm_residual_norm_kernel(
    y_ptr, residual_ptr, post_norm_ptr, next_norm_ptr, x_ptr, counts_ptr, eps,
    HIDDEN: tl.constexpr, BLOCK: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    release(CHAINED)
    row, column = tl.program_id(0), tl.arange(0, BLOCK)
    mask = column < tl.where(row < tl.load(counts_ptr), HIDDEN, 0)
    post_norm = tl.load(post_norm_ptr + column, mask=column < HIDDEN, other=0.0)
    next_norm = tl.load(next_norm_ptr + column, mask=column < HIDDEN, other=0.0)
    await_inputs(CHAINED)
    at = row.to(tl.int64) * HIDDEN + column
    y = tl.load(y_ptr + at, mask=mask, other=0.0).to(tl.float32)
    residual = tl.load(residual_ptr + at, mask=mask, other=0.0).to(tl.float32)
    y = y * rms_scale(y, HIDDEN, eps) * post_norm
    total = (residual + y).to(residual_ptr.dtype.element_ty)
    tl.store(residual_ptr + at, total, mask=mask)
    total = total.to(tl.float32)
    x = total * rms_scale(total, HIDDEN, eps) * next_norm
    tl.store(x_ptr + at, x.to(x_ptr.dtype.element_ty), mask=mask)


def norm_residual_norm(
    plan: Plan, y: Tensor, residual: Tensor, post_norm: Tensor, next_norm: Tensor, eps: float
) -> Tensor:
    """y [T, hidden]; residual [T, hidden], in place; the next norm of y's dtype."""
    rows, hidden = y.shape
    x = torch.empty_like(y)
    _norm_residual_norm_kernel[rows,](
        y, residual, post_norm, next_norm, x, plan.counts, eps,
        HIDDEN=hidden, BLOCK=triton.next_power_of_2(hidden),
        num_warps=row_warps(hidden), **chaining(plan),
    )  # fmt: skip
    return x
