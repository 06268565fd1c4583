"""qkv_norm_rope: the projection to q, k and v with the heads' RMSNorm and rotation in its epilogue.

A program owns one head of BLOCK_M tokens, its first half in one accumulator and its second in the other:
the norm is one sum over both, and a rotary pair is one element of each. Beside both accumulators a half's
angles fit the registers in float16, whose error, 2^-12, is an eighth of a bfloat16 result's.

A small batch would have as few programs as there are heads. So each program computes some columns of the
product there, and gemwire_kernels.gpu.norm_rope does the rest, with the same bits.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.heads import finite, rotated
from gemwire_kernels.gpu.launch import await_inputs, chaining, fetch, fetched, release
from gemwire_kernels.gpu.linear import product
from gemwire_kernels.gpu.matmul import opened, operand
from gemwire_kernels.gpu.norm_rope import norm_rope
from gemwire_kernels.ops import RotaryTable

# The dtype of the rotary tables, by the serving dtype.
ROTARY_DTYPES = {torch.bfloat16: torch.float16, torch.float32: torch.float32}


@triton.jit
def _qkv_norm_rope_kernel(
    x, w, w_ptr, q, k, v,
    q_norm_ptr, k_norm_ptr, cos_ptr, sin_ptr, positions_ptr, counts_ptr, eps,
    NUM_HEADS: tl.constexpr, NUM_KV_HEADS: tl.constexpr, HALF: tl.constexpr, K: tl.constexpr,
    FETCHED: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr,
    CHAINED: tl.constexpr, COPY_ENGINE: tl.constexpr,
):  # fmt: skip
    release(CHAINED)
    heads: tl.constexpr = NUM_HEADS + 2 * NUM_KV_HEADS
    fetch(w_ptr + tl.program_id(0) % heads * (2 * HALF * K), FETCHED)
    num_tokens = tl.load(counts_ptr)
    await_inputs(CHAINED)
    x = opened(x, (num_tokens, K), (K, 1), (BLOCK_M, BLOCK_K), COPY_ENGINE)
    w = opened(w, (heads * 2 * HALF, K), (K, 1), (HALF, BLOCK_K), COPY_ENGINE)
    q_size: tl.constexpr = NUM_HEADS * 2 * HALF
    kv_size: tl.constexpr = NUM_KV_HEADS * 2 * HALF
    q = opened(q, (num_tokens, q_size), (q_size, 1), (BLOCK_M, HALF), COPY_ENGINE)
    k = opened(k, (num_tokens, kv_size), (kv_size, 1), (BLOCK_M, HALF), COPY_ENGINE)
    v = opened(v, (num_tokens, kv_size), (kv_size, 1), (BLOCK_M, HALF), COPY_ENGINE)
    tiles = tl.cdiv(num_tokens, BLOCK_M) * heads
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0)):
        row, head = tile // heads * BLOCK_M, tile % heads
        first = head * (2 * HALF)
        rows = row + tl.arange(0, BLOCK_M)
        positions = tl.load(positions_ptr + rows, mask=rows < num_tokens, other=0)
        one = tl.zeros((BLOCK_M, HALF), tl.float32)
        two = tl.zeros((BLOCK_M, HALF), tl.float32)
        for at in range(0, K, BLOCK_K):
            rows_of_x = x.load([row, at])
            one = tl.dot(rows_of_x, w.load([first, at]).T, one, input_precision="ieee")
            two = tl.dot(rows_of_x, w.load([first + HALF, at]).T, two, input_precision="ieee")
        if head < NUM_HEADS + NUM_KV_HEADS:
            if head < NUM_HEADS:
                one, two = rotated(
                    one, two, q_norm_ptr, cos_ptr, sin_ptr, positions, eps, BLOCK_M, HALF
                )
                q.store([row, first], one.to(q.dtype))
                q.store([row, first + HALF], two.to(q.dtype))
            else:
                one, two = rotated(
                    one, two, k_norm_ptr, cos_ptr, sin_ptr, positions, eps, BLOCK_M, HALF
                )
                k.store([row, first - q_size], one.to(k.dtype))
                k.store([row, first - q_size + HALF], two.to(k.dtype))
        else:
            column = first - q_size - kv_size
            v.store([row, column], finite(one).to(v.dtype))
            v.store([row, column + HALF], finite(two).to(v.dtype))


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
    if tile.block_n:
        made = product(plan, x, qkv_proj, tile, torch.float32)
        norm_rope(plan, made, q_norm, k_norm, rotary, positions, (q, k, v), eps)
        return q, k, v
    outputs = (operand(plan, t.flatten(1), tile.block_m, head_dim // 2) for t in (q, k, v))
    tiles = triton.cdiv(rows, tile.block_m) * (num_heads + 2 * num_kv_heads)
    grid = plan.programs(tiles, tile.per_multiprocessor)
    _qkv_norm_rope_kernel[grid](
        operand(plan, x, tile.block_m, tile.block_k),
        operand(plan, qkv_proj, head_dim // 2, tile.block_k), qkv_proj,
        *outputs,
        q_norm, k_norm, rotary.cos, rotary.sin, positions, plan.counts, eps,
        NUM_HEADS=num_heads, NUM_KV_HEADS=num_kv_heads, HALF=head_dim // 2, K=depth,
        FETCHED=fetched(plan, qkv_proj, head_dim),
        BLOCK_M=tile.block_m, BLOCK_K=tile.block_k,
        num_warps=tile.num_warps, num_stages=tile.num_stages,
        COPY_ENGINE=plan.copy_engine, **chaining(plan),
    )  # fmt: skip
    return q, k, v
