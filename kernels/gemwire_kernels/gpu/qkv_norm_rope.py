"""qkv_norm_rope: the projection to q, k and v with the heads' RMSNorm and rotation in its epilogue.

A program owns one head of BLOCK_M tokens, its first half in one accumulator and its second in the other:
the norm is one sum over both, and a rotary pair is one element of each. The epilogue goes by quarters of
a head: the angles of a half, beside both accumulators, would not fit the registers.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.matmul import accumulate_pair, descriptor
from gemwire_kernels.ops import RotaryTable

LARGEST = tl.constexpr(3.38e38)  # just under bfloat16's and float32's


@triton.jit
def _quarters(half, ROWS: tl.constexpr, HALF: tl.constexpr):
    """The left and the right columns; each element stays in its register."""
    return tl.split(tl.permute(tl.reshape(half, (ROWS, 2, HALF // 2)), (0, 2, 1)))


@triton.jit
def _store_rotated(
    desc, row, column, one, two, norm_ptr, cos_ptr, sin_ptr, positions,
    HALF: tl.constexpr, AT: tl.constexpr,
):  # fmt: skip
    """Times 1 + w, then pairs (one[i], two[i]) turned by the angles of the row's position
    (arXiv:2104.09864); columns AT to AT + HALF / 2 of both halves."""
    i = AT + tl.arange(0, HALF // 2)
    angle = positions[:, None] * HALF + i[None, :]
    cos, sin = tl.load(cos_ptr + angle), tl.load(sin_ptr + angle)
    one = one * tl.load(norm_ptr + i)[None, :]
    two = two * tl.load(norm_ptr + HALF + i)[None, :]
    desc.store([row, column + AT], (one * cos - two * sin).to(desc.dtype))
    desc.store([row, column + HALF + AT], (two * cos + one * sin).to(desc.dtype))


@triton.jit
def _store_normed(
    desc, row, column, one, two, norm_ptr, cos_ptr, sin_ptr, positions, eps,
    BLOCK_M: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    """RMSNorm of each row of a head (arXiv:1910.07467), then its rotation, in fp32."""
    scale = tl.rsqrt((tl.sum(one * one, 1) + tl.sum(two * two, 1)) / (2 * HALF) + eps)[:, None]
    one_left, one_right = _quarters(one * scale, BLOCK_M, HALF)
    two_left, two_right = _quarters(two * scale, BLOCK_M, HALF)
    _store_rotated(
        desc, row, column, one_left, two_left, norm_ptr, cos_ptr, sin_ptr, positions, HALF, 0
    )
    _store_rotated(
        desc, row, column, one_right, two_right, norm_ptr, cos_ptr, sin_ptr, positions,
        HALF, HALF // 2,
    )  # fmt: skip


@triton.jit
def _store_finite(desc, row, column, half, BLOCK_M: tl.constexpr, HALF: tl.constexpr):
    """A half of a head of v. Attention multiplies values it must not see by a weight of zero, and
    0 * NaN is NaN: a text that came to NaN keeps it in its residual, not in v."""
    half = tl.where(half == half, tl.minimum(tl.maximum(half, -LARGEST), LARGEST), 0.0)
    left, right = _quarters(half.to(desc.dtype), BLOCK_M, HALF)
    desc.store([row, column], left)
    desc.store([row, column + HALF // 2], right)


@triton.jit
def _qkv_norm_rope_kernel(
    x_desc, w_desc, q_desc, k_desc, v_desc,
    q_norm_ptr, k_norm_ptr, cos_ptr, sin_ptr, positions_ptr, counts_ptr, eps,
    NUM_HEADS: tl.constexpr, NUM_KV_HEADS: tl.constexpr, HALF: tl.constexpr, K: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    heads: tl.constexpr = NUM_HEADS + 2 * NUM_KV_HEADS
    num_tokens = tl.load(counts_ptr)
    tiles = tl.cdiv(num_tokens, BLOCK_M) * heads
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0)):
        row, head = tile // heads * BLOCK_M, tile % heads
        first = head * (2 * HALF)
        one, two = accumulate_pair(
            x_desc, w_desc, row, first, first + HALF, K, BLOCK_M, HALF, BLOCK_K
        )
        if head < NUM_HEADS + NUM_KV_HEADS:
            rows = row + tl.arange(0, BLOCK_M)
            positions = tl.load(positions_ptr + rows, mask=rows < num_tokens, other=0)
            if head < NUM_HEADS:
                _store_normed(
                    q_desc, row, first, one, two, q_norm_ptr, cos_ptr, sin_ptr, positions, eps,
                    BLOCK_M, HALF,
                )  # fmt: skip
            else:
                _store_normed(
                    k_desc, row, first - NUM_HEADS * 2 * HALF, one, two, k_norm_ptr,
                    cos_ptr, sin_ptr, positions, eps, BLOCK_M, HALF,
                )  # fmt: skip
        else:
            column = first - (NUM_HEADS + NUM_KV_HEADS) * 2 * HALF
            _store_finite(v_desc, row, column, one, BLOCK_M, HALF)
            _store_finite(v_desc, row, column + HALF, two, BLOCK_M, HALF)


def qkv_norm_rope(
    plan: Plan,
    x: Tensor,
    qkv_proj: Tensor,
    q_norm: Tensor,
    k_norm: Tensor,
    rotary: RotaryTable,
    positions: Tensor,
    num_heads: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """x [T, hidden], qkv_proj [(heads + 2 kv heads) * head_dim, hidden], positions int32 [T]:
    q [T, heads, head_dim], k and v [T, kv heads, head_dim] of x's dtype; v is the plan's `values`."""
    rows, depth = x.shape
    head_dim = len(q_norm)
    num_kv_heads = (len(qkv_proj) // head_dim - num_heads) // 2
    tile = plan.tiles.qkv
    q, k = (
        torch.empty(rows, heads, head_dim, dtype=x.dtype, device=x.device)
        for heads in (num_heads, num_kv_heads)
    )
    v = plan.values
    outputs = (descriptor(t.flatten(1), tile.block_m, head_dim // 4) for t in (q, k, v))
    tiles = triton.cdiv(rows, tile.block_m) * (num_heads + 2 * num_kv_heads)
    grid = plan.programs(tiles, tile.per_multiprocessor)
    _qkv_norm_rope_kernel[grid](
        descriptor(x, tile.block_m, tile.block_k),
        descriptor(qkv_proj, head_dim // 2, tile.block_k),
        *outputs,
        q_norm, k_norm, rotary.cos, rotary.sin, positions, plan.counts, eps,
        NUM_HEADS=num_heads, NUM_KV_HEADS=num_kv_heads, HALF=head_dim // 2, K=depth,
        BLOCK_M=tile.block_m, BLOCK_K=tile.block_k,
        num_warps=tile.num_warps, num_stages=tile.num_stages,
    )  # fmt: skip
    return q, k, v
