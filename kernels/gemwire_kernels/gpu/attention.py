"""attention: each token over its own text, both ways, inside the window.

The query heads of one kv head are packed as rows: row r of a text is token r // GROUP, head r % GROUP, and
a tile is BLOCK_M of a text's rows, so that each block of keys and values is loaded once for all heads.
Blocks of keys start at the text's own first token and have one size, so a text's vectors do not depend on
what is beside it; a block that is masked for a row changes nothing in it, bit for bit.

Online softmax: arXiv:2205.14135, in base 2.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.launch import await_inputs, chaining, release
from gemwire_kernels.gpu.matmul import opened, operand

# Beyond every distance, and far enough from 2^31 to be added to a position.
NO_WINDOW = 1 << 30
# Below every score there is, and finite: a row whose first blocks are masked whole gathers weights of 1
# that the first real score multiplies by 0, where -inf would give NaN. A power of two, so that its product
# with the scale is exact: a GPU fuses multiplication and subtraction, and would find of a rounded product
# the rounding, 1e20 of 1e30, where the same number less itself should be 0.
MASKED_SCORE = tl.constexpr(-(2.0**100))


@triton.jit
def _attend(
    q, first_row, k, v, begin, length, low, high, whole_low, whole_high, column, scale_log2,
    WINDOW: tl.constexpr, GROUP: tl.constexpr, HEAD_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """softmax(q k^T) v over the text's keys low to high, fp32 [BLOCK_M, HEAD_DIM]. Only blocks that
    start outside of whole_low to whole_high hold keys that some row does not see."""
    out = tl.zeros((BLOCK_M, HEAD_DIM), tl.float32)
    top = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    # Without it the way past the loop defines the accumulator, and ptxas waits after every wgmma (C7515).
    tl.assume(low < high)
    for start in tl.range(low, high, BLOCK_N):
        keys = k.load([begin + start, column])
        scores = tl.dot(q, keys.T, input_precision="ieee")
        if (start < whole_low) | (start >= whole_high):
            at = start + tl.arange(0, BLOCK_N)
            tokens = (first_row + tl.arange(0, BLOCK_M)) // GROUP
            distance = tokens[:, None] - at[None, :]
            seen = (at < length)[None, :] & (distance <= WINDOW) & (distance >= -WINDOW)
            scores = tl.where(seen, scores, MASKED_SCORE)
        new_top = tl.maximum(top, tl.max(scores, 1))
        weights = tl.exp2(scores * scale_log2 - (new_top * scale_log2)[:, None])
        shrink = tl.exp2((top - new_top) * scale_log2)
        total = total * shrink + tl.sum(weights, 1)
        values = v.load([begin + start, column])
        out = out * shrink[:, None]
        out = tl.dot(weights.to(values.dtype), values, out, input_precision="ieee")
        top = new_top
    return out * (1.0 / total)[:, None]


@triton.jit
def _rows(
    pointer, begin, length, first_row, kv_head,
    NUM_KV_HEADS: tl.constexpr, GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Returns the places of a tile's rows in q and in the output, and which rows belong to a token."""
    row = tl.arange(0, BLOCK_M)
    if NUM_KV_HEADS == 1:
        # One block of memory: nothing but constants to hold through the loop.
        pointer += (begin * GROUP + first_row).to(tl.int64) * HEAD_DIM
        at = row
    else:
        packed = first_row + row
        pointer += begin.to(tl.int64) * (NUM_KV_HEADS * GROUP * HEAD_DIM)
        at = packed // GROUP * (NUM_KV_HEADS * GROUP) + kv_head * GROUP + packed % GROUP
    real = row < length * GROUP - first_row
    return pointer + at[:, None] * HEAD_DIM + tl.arange(0, HEAD_DIM)[None, :], real[:, None]


@triton.jit
def _place(tile, num_tiles, cu_seqlens_ptr, tile_text_ptr, tile_row_ptr):
    """Returns where a tile's text begins, the text's length, and the tile's first row in it."""
    real = tile < num_tiles
    text = tl.load(tile_text_ptr + tile, mask=real, other=0)
    first_row = tl.load(tile_row_ptr + tile, mask=real, other=0)
    begin = tl.load(cu_seqlens_ptr + text)
    return begin, tl.load(cu_seqlens_ptr + text + 1) - begin, first_row


@triton.jit
def _attention_kernel(
    q_blocks, q_ptr, k, v, out_ptr, cu_seqlens_ptr, tile_text_ptr, tile_row_ptr, counts_ptr,
    scale_log2,
    WINDOW: tl.constexpr, NUM_KV_HEADS: tl.constexpr, GROUP: tl.constexpr, HEAD_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    CHAINED: tl.constexpr, COPY_ENGINE: tl.constexpr,
):  # fmt: skip
    release(CHAINED)
    kv_head = tl.program_id(1)
    num_tokens = tl.load(counts_ptr)
    num_tiles = tl.load(counts_ptr + 2)
    begin, length, first_row = _place(
        tl.program_id(0), num_tiles, cu_seqlens_ptr, tile_text_ptr, tile_row_ptr
    )
    await_inputs(CHAINED)
    kv_size: tl.constexpr = NUM_KV_HEADS * HEAD_DIM
    k = opened(k, (num_tokens, kv_size), (kv_size, 1), (BLOCK_N, HEAD_DIM), COPY_ENGINE)
    v = opened(v, (num_tokens, kv_size), (kv_size, 1), (BLOCK_N, HEAD_DIM), COPY_ENGINE)
    if NUM_KV_HEADS == 1:
        q_blocks = opened(
            q_blocks,
            (num_tokens * GROUP, HEAD_DIM),
            (HEAD_DIM, 1),
            (BLOCK_M, HEAD_DIM),
            COPY_ENGINE,
        )
    for tile in tl.range(tl.program_id(0), num_tiles, tl.num_programs(0)):
        if NUM_KV_HEADS == 1:
            # A tile's rows are one block of memory. Rows beyond it are not stored.
            q = q_blocks.load([begin * GROUP + first_row, 0])
        else:
            at, real = _rows(
                q_ptr, begin, length, first_row, kv_head, NUM_KV_HEADS, GROUP, HEAD_DIM, BLOCK_M
            )
            q = tl.load(at, mask=real, other=0.0)
        first = first_row // GROUP
        last = tl.minimum((first_row + BLOCK_M - 1) // GROUP, length - 1)
        low = tl.maximum(first - WINDOW, 0) // BLOCK_N * BLOCK_N
        high = tl.minimum(last + WINDOW + 1, length)
        whole_low = last - WINDOW
        whole_high = tl.minimum(first + WINDOW + 1, length) - BLOCK_N + 1
        out = _attend(
            q, first_row, k, v, begin, length, low, high, whole_low, whole_high,
            kv_head * HEAD_DIM, scale_log2, WINDOW, GROUP, HEAD_DIM, BLOCK_M, BLOCK_N,
        )  # fmt: skip
        # Not kept from above: the addresses would hold registers that the loop needs.
        at, real = _rows(
            out_ptr, begin, length, first_row, kv_head, NUM_KV_HEADS, GROUP, HEAD_DIM, BLOCK_M
        )
        tl.store(at, out.to(out_ptr.dtype.element_ty), mask=real)
        begin, length, first_row = _place(
            tile + tl.num_programs(0), num_tiles, cu_seqlens_ptr, tile_text_ptr, tile_row_ptr
        )


def attention(
    plan: Plan,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens: Tensor,
    scale: float,
    window: int | None,
) -> Tensor:
    """q [T, heads, head_dim], k and v [T, kv heads, head_dim]: [T, heads * head_dim] of q's dtype.

    All of v must be finite, also what belongs to no text: see `finite` in gemwire_kernels.gpu.heads.
    """
    (rows, num_heads, head_dim), num_kv_heads = q.shape, k.shape[1]
    tile = plan.tiles.attention
    out = torch.empty(rows, num_heads * head_dim, dtype=q.dtype, device=q.device)
    queries = operand(plan, q.view(-1, head_dim), tile.block_m, head_dim)
    keys, values = (operand(plan, t.flatten(1), tile.block_n, head_dim) for t in (k, v))
    (programs,) = plan.programs(len(plan.tile_text), tile.per_multiprocessor)
    _attention_kernel[programs, num_kv_heads](
        queries, q, keys, values, out, cu_seqlens, plan.tile_text, plan.tile_row, plan.counts,
        scale * math.log2(math.e),
        WINDOW=NO_WINDOW if window is None else window,
        NUM_KV_HEADS=num_kv_heads, GROUP=num_heads // num_kv_heads, HEAD_DIM=head_dim,
        BLOCK_M=tile.block_m, BLOCK_N=tile.block_n,
        num_warps=tile.num_warps, num_stages=tile.num_stages,
        COPY_ENGINE=plan.copy_engine, **chaining(plan),
    )  # fmt: skip
    return out
