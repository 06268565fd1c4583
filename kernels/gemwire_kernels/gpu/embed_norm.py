"""embed_norm: gather, scale and the first layer's norm."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.rows import ROWS, rms_scale, row_grid, row_warps


@triton.jit
def _embed_norm_kernel(
    ids_ptr, embedding_ptr, norm_ptr, residual_ptr, x_ptr, counts_ptr, scale, eps,
    HIDDEN: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    real = row < tl.load(counts_ptr)
    mask = real[:, None] & (column < HIDDEN)[None, :]
    ids = tl.load(ids_ptr + row, mask=real, other=0).to(tl.int64)
    values = tl.load(embedding_ptr + ids[:, None] * HIDDEN + column[None, :], mask=mask, other=0.0)
    # As it is stored, so that the norm is of what the next layers see.
    residual = (values.to(tl.float32) * scale).to(residual_ptr.dtype.element_ty)
    at = row.to(tl.int64)[:, None] * HIDDEN + column[None, :]
    tl.store(residual_ptr + at, residual, mask=mask)
    norm = tl.load(norm_ptr + column, mask=column < HIDDEN, other=0.0)
    residual = residual.to(tl.float32)
    x = residual * rms_scale(residual, HIDDEN, eps)[:, None] * norm[None, :]
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
    _embed_norm_kernel[row_grid(rows)](
        input_ids, embedding, norm, residual, x, plan.counts, scale, eps,
        HIDDEN=hidden, BLOCK=triton.next_power_of_2(hidden), ROWS=ROWS,
        num_warps=row_warps(hidden),
    )  # fmt: skip
    return residual, x
