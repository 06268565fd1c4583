"""embed_norm: gather, scale and the first layer's norm."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.launch import await_inputs, chaining, release
from gemwire_kernels.gpu.rows import rms_scale, row_warps


@triton.jit
def _embed_norm_kernel(
    ids_ptr, embedding_ptr, norm_ptr, residual_ptr, x_ptr, counts_ptr, scale, eps,
    HIDDEN: tl.constexpr, BLOCK: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    release(CHAINED)
    row, column = tl.program_id(0), tl.arange(0, BLOCK)
    mask = column < tl.where(row < tl.load(counts_ptr), HIDDEN, 0)
    token = tl.load(ids_ptr + row).to(tl.int64)  # beyond the counts anything, and not followed
    await_inputs(CHAINED)
    values = tl.load(embedding_ptr + token * HIDDEN + column, mask=mask, other=0.0)
    # As it is stored, so that the norm is of what the next layers see.
    residual = (values.to(tl.float32) * scale).to(residual_ptr.dtype.element_ty)
    at = row.to(tl.int64) * HIDDEN + column
    tl.store(residual_ptr + at, residual, mask=mask)
    norm = tl.load(norm_ptr + column, mask=column < HIDDEN, other=0.0)
    residual = residual.to(tl.float32)
    x = residual * rms_scale(residual, HIDDEN, eps) * norm
    tl.store(x_ptr + at, x.to(x_ptr.dtype.element_ty), mask=mask)


def embed_norm(
    plan: Plan,
    input_ids: Tensor,
    embedding: Tensor,
    scale: float,
    norm: Tensor,
    eps: float,
    residual_dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """input_ids int32 [T], embedding [vocab, hidden]: the residual [T, hidden], and its norm in the
    embedding's dtype."""
    rows, hidden = len(input_ids), embedding.shape[1]
    residual = torch.empty(rows, hidden, dtype=residual_dtype, device=embedding.device)
    x = torch.empty(rows, hidden, dtype=embedding.dtype, device=embedding.device)
    _embed_norm_kernel[rows,](
        input_ids, embedding, norm, residual, x, plan.counts, scale, eps,
        HIDDEN=hidden, BLOCK=triton.next_power_of_2(hidden),
        num_warps=row_warps(hidden), **chaining(plan),
    )  # fmt: skip
    return residual, x
