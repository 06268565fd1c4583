"""Shared by the kernels that make heads of q, k and v: RMSNorm, rotation, and what attention needs of v.

A head is two halves of HALF columns, as a rotary pair is one element of each.
"""

import triton
import triton.language as tl

LARGEST = tl.constexpr(3.38e38)  # just under bfloat16's largest number, and float32's


@triton.jit
def _in_pairs(sums, ROWS: tl.constexpr, COUNT: tl.constexpr):
    """Adds the COUNT sums of each row, a power of two, neighbours first."""
    if COUNT == 1:
        return tl.reshape(sums, (ROWS,))
    else:
        left, right = tl.split(tl.reshape(sums, (ROWS, COUNT // 2, 2)))
        return _in_pairs(left + right, ROWS, COUNT // 2)


@triton.jit
def sum_of_squares(x, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Computes the sum of x^2 of each row, in an order that no layout of registers changes, so that
    kernels with other tiles have the same bits.

    A thread of a matrix instruction holds columns 2 t and 2 t + 1 of every eight: its columns are added
    first, as they need no other thread.
    """
    one, two = tl.split(tl.reshape(x, (ROWS, COLUMNS // 2, 2)))
    squares = tl.reshape(tl.fma(two, two, one * one), (ROWS, COLUMNS // 8, 4))
    squares = tl.reshape(tl.permute(squares, (0, 2, 1)), (ROWS * 4, COLUMNS // 8))
    return _in_pairs(tl.reshape(_in_pairs(squares, ROWS * 4, COLUMNS // 8), (ROWS, 4)), ROWS, 4)


@triton.jit
def rotated(
    one, two, norm_ptr, cos_ptr, sin_ptr, positions, eps, ROWS: tl.constexpr, HALF: tl.constexpr
):  # fmt: skip
    """RMSNorm of each row of a head (arXiv:1910.07467), then its pairs (one[i], two[i]) turned by the
    angles of the row's position (arXiv:2104.09864), in fp32."""
    squares = sum_of_squares(one, ROWS, HALF) + sum_of_squares(two, ROWS, HALF)
    scale = tl.rsqrt(squares / (2 * HALF) + eps)[:, None]
    one, two = one * scale, two * scale
    # The angles before the weights: the other way round, registers do not suffice.
    i = tl.arange(0, HALF)
    angle = positions[:, None] * HALF + i[None, :]
    cos, sin = tl.load(cos_ptr + angle).to(tl.float32), tl.load(sin_ptr + angle).to(tl.float32)
    one = one * tl.load(norm_ptr + i)[None, :]
    two = two * tl.load(norm_ptr + HALF + i)[None, :]
    return one * cos - two * sin, two * cos + one * sin


@triton.jit
def finite(v):
    """Replaces NaN by 0, and limits the rest to what bfloat16 holds.

    Attention multiplies values it must not see by a weight of zero, and 0 * NaN is NaN: a text that came
    to NaN keeps it in its residual, not in v.
    """
    return tl.where(v == v, tl.minimum(tl.maximum(v, -LARGEST), LARGEST), 0.0)
