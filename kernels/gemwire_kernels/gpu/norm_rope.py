"""norm_rope: the heads' RMSNorm and rotation of a product that is in memory, for small batches.

Larger batches do both in the product's epilogue, with the same bits: gemwire_kernels.gpu.qkv_norm_rope.
"""

import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.heads import finite, rotated
from gemwire_kernels.gpu.launch import await_inputs, chaining, release
from gemwire_kernels.ops import RotaryTable


@triton.jit
def _norm_rope_kernel(
    product_ptr, q_ptr, k_ptr, v_ptr,
    q_norm_ptr, k_norm_ptr, cos_ptr, sin_ptr, positions_ptr, counts_ptr, eps,
    NUM_HEADS: tl.constexpr, NUM_KV_HEADS: tl.constexpr, HALF: tl.constexpr, CHAINED: tl.constexpr,
):  # fmt: skip
    """Each program computes one head of one token."""
    release(CHAINED)
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    num_tokens = tl.load(counts_ptr)
    position = tl.load(positions_ptr + row + tl.arange(0, 1))
    await_inputs(CHAINED)
    if row < num_tokens:
        heads: tl.constexpr = NUM_HEADS + 2 * NUM_KV_HEADS
        i = tl.arange(0, HALF)[None, :]
        product_ptr += (row * heads + head) * (2 * HALF)
        one, two = tl.load(product_ptr + i), tl.load(product_ptr + HALF + i)
        if head < NUM_HEADS + NUM_KV_HEADS:
            if head < NUM_HEADS:
                norm_ptr = q_norm_ptr
                out_ptr = q_ptr + (row * NUM_HEADS + head) * (2 * HALF)
            else:
                norm_ptr = k_norm_ptr
                out_ptr = k_ptr + (row * NUM_KV_HEADS + head - NUM_HEADS) * (2 * HALF)
            one, two = rotated(one, two, norm_ptr, cos_ptr, sin_ptr, position, eps, 1, HALF)
        else:
            out_ptr = v_ptr + (row * NUM_KV_HEADS + head - NUM_HEADS - NUM_KV_HEADS) * (2 * HALF)
            one, two = finite(one), finite(two)
        tl.store(out_ptr + i, one.to(q_ptr.dtype.element_ty))
        tl.store(out_ptr + HALF + i, two.to(q_ptr.dtype.element_ty))


def norm_rope(
    plan: Plan,
    product: Tensor,
    q_norm: Tensor,
    k_norm: Tensor,
    rotary: RotaryTable,
    positions: Tensor,
    outputs: tuple[Tensor, Tensor, Tensor],
    eps: float,
) -> None:
    """product fp32 [T, (heads + 2 kv heads) * head_dim], into `outputs`: q [T, heads, head_dim], k and v
    [T, kv heads, head_dim]."""
    q, k, v = outputs
    num_heads, num_kv_heads, head_dim = q.shape[1], *k.shape[1:]
    _norm_rope_kernel[len(product), num_heads + 2 * num_kv_heads](
        product, q, k, v,
        q_norm, k_norm, rotary.cos, rotary.sin, positions, plan.counts, eps,
        NUM_HEADS=num_heads, NUM_KV_HEADS=num_kv_heads, HALF=head_dim // 2,
        num_warps=1, **chaining(plan),
    )  # fmt: skip
