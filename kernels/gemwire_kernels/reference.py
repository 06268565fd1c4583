"""`Ops` in plain PyTorch, the oracle of every other backend.

Rounding to the serving dtype happens only where a tensor leaves an operation; norms, rotary angles,
residual, pooling and head are fp32. Formulas: Gemma 3 report, arXiv:2503.19786, and the model's
implementation in Hugging Face transformers (models/gemma3).
"""

import itertools
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gemwire_kernels.formats import BFLOAT16, FLOAT32, Stored
from gemwire_kernels.ops import Batch, RotaryTable
from gemwire_kernels.tensors import to_tensor

# Queries that share one slice of keys under a window: large enough to keep the product efficient,
# small enough that few keys outside the window are computed.
QUERY_CHUNK = 128

rotary_dtype = torch.float32


formats = (FLOAT32, BFLOAT16)


def pack(weight: Stored) -> Tensor:
    return to_tensor(weight, formats, "the reference operations")


pack_embedding = pack


def place(
    input_ids: NDArray[np.int32], positions: NDArray[np.int32], cu_seqlens: NDArray[np.int32]
) -> Batch:
    """Places the batch on the CPU; its plan is the bounds of each text."""
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        positions=torch.from_numpy(positions),
        cu_seqlens=torch.from_numpy(cu_seqlens),
        plan=list(itertools.pairwise(cu_seqlens.tolist())),
    )


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Computes x / sqrt(mean(x^2) + eps) * weight over the last axis, in fp32 (arXiv:1910.07467)."""
    return F.rms_norm(x.float(), weight.shape, weight, eps)


def embed_norm(
    batch: Batch, embedding: Tensor, scale: float, norm: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    residual = F.embedding(batch.input_ids, embedding).float().mul_(scale)
    return residual, rms_norm(residual, norm, eps).to(embedding.dtype)


def qkv_norm_rope(
    batch: Batch,
    x: Tensor,
    qkv_proj: Tensor,
    q_norm: Tensor,
    k_norm: Tensor,
    rotary: RotaryTable,
    num_heads: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return norm_rope(batch, F.linear(x, qkv_proj), q_norm, k_norm, rotary, num_heads, eps)


def norm_rope(
    batch: Batch,
    qkv: Tensor,
    q_norm: Tensor,
    k_norm: Tensor,
    rotary: RotaryTable,
    num_heads: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    heads = qkv.unflatten(-1, (-1, len(q_norm)))
    num_kv_heads = (heads.shape[1] - num_heads) // 2
    q, k, v = heads.split((num_heads, num_kv_heads, num_kv_heads), dim=1)
    cos, sin = rotary.cos[batch.positions, None], rotary.sin[batch.positions, None]
    return (
        rotate(rms_norm(q, q_norm, eps), cos, sin).to(qkv.dtype),
        rotate(rms_norm(k, k_norm, eps), cos, sin).to(qkv.dtype),
        v,
    )


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns the pairs (x[i], x[i + head_dim / 2]) by their angles (arXiv:2104.09864)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def attention(
    batch: Batch, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
) -> Tensor:
    out = torch.empty_like(q)
    for start, end in batch.plan:
        chunk = max(end - start, 1)
        if window is not None and chunk > window + 1:
            chunk = QUERY_CHUNK
        for first in range(start, end, chunk):
            last = min(first + chunk, end)
            low, high = start, end
            if window is not None:
                low, high = max(start, first - window), min(end, last + window)
            mask = None
            if window is not None and high - low > window + 1:
                mask = window_mask(first - low, last - first, high - low, window, q.dtype, q.device)
            out[first:last] = _attend(q[first:last], k[low:high], v[low:high], scale, mask)
    return out.flatten(1)


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """Computes softmax(q k^T * scale + mask) v per head; q [m, heads, d], k and v [s, kv heads, d]."""
    num_heads, num_kv_heads = q.shape[1], k.shape[1]
    group = num_heads // num_kv_heads
    # The query heads of one kv head become rows of one product: keys are read once for all of them.
    rows = q.unflatten(1, (num_kv_heads, group)).permute(1, 2, 0, 3).flatten(1, 2)
    if mask is not None:
        mask = mask.repeat(group, 1)
    out = F.scaled_dot_product_attention(
        rows[None], k.transpose(0, 1)[None], v.transpose(0, 1)[None], attn_mask=mask, scale=scale
    )
    return out[0].unflatten(1, (group, -1)).permute(2, 0, 1, 3).flatten(1, 2)


# The chunks of a text share few masks; its last chunk has one that depends on the text's length.
@lru_cache(maxsize=8)
def window_mask(
    offset: int, rows: int, keys: int, window: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Returns [rows, keys]: 0 where |offset + row - key| <= window, else -inf."""
    row, key = torch.arange(rows, device=device), torch.arange(keys, device=device)
    seen = (row[:, None] + offset - key).abs() <= window
    return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, -torch.inf)


def linear(batch: Batch, x: Tensor, weight: Tensor) -> Tensor:
    return F.linear(x, weight)


def norm_residual_norm(
    batch: Batch, y: Tensor, residual: Tensor, post_norm: Tensor, next_norm: Tensor, eps: float
) -> Tensor:
    residual += rms_norm(y, post_norm, eps)
    return rms_norm(residual, next_norm, eps).to(y.dtype)


def gate_up_geglu(batch: Batch, x: Tensor, gate_up_proj: Tensor) -> Tensor:
    return geglu(F.linear(x, gate_up_proj))


def geglu(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.float().chunk(2, dim=-1)
    return F.gelu(gate, approximate="tanh").mul_(up).to(gate_up.dtype)


def pool(batch: Batch, residual: Tensor, norm: Tensor, eps: float) -> Tensor:
    x = rms_norm(residual, norm, eps)
    sums = [x[start:end].sum(0) / max(end - start, 1) for start, end in batch.plan]
    return torch.stack(sums) if sums else x.new_empty(0, x.shape[1])


def head(batch: Batch, pooled: Tensor, dense: Tensor, *, normalize: bool = True) -> Tensor:
    projected = F.linear(pooled, dense)
    return F.normalize(projected, dim=-1) if normalize else projected
