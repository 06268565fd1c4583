"""Shared by the kernels that hold whole rows: the norm, and the number of warps for a row."""

import triton
import triton.language as tl

# Rows that a program sums at once, where one row after the other would be too slow.
ROWS = 4


@triton.jit
def rms_scale(x, HIDDEN: tl.constexpr, eps):
    """Computes 1 / sqrt(mean(x^2) + eps) of a row or of each, fp32 (arXiv:1910.07467); beyond
    HIDDEN x is zero.
    """
    return tl.rsqrt(tl.sum(x * x, -1) / HIDDEN + eps)


def row_warps(hidden: int, rows: int = 1) -> int:
    """Returns the number of warps for `rows` rows.

    1,024 columns take 32 fp32 registers a thread and tensor. One warp holds one row of that many,
    and its threads need no shared memory for the row's sum.
    """
    return max(1, min(8, triton.next_power_of_2(hidden) * rows // 1024))
