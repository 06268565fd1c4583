"""What the kernels share that hold whole rows: their norm, and how many warps a row needs."""

import triton
import triton.language as tl

# Rows a program sums at once where one row after the other would be too slow.
ROWS = 4


@triton.jit
def rms_scale(x, HIDDEN: tl.constexpr, eps):
    """1 / sqrt(mean(x^2) + eps) of a row or of each, fp32 (arXiv:1910.07467); beyond HIDDEN x is zero."""
    return tl.rsqrt(tl.sum(x * x, -1) / HIDDEN + eps)


def row_warps(hidden: int, rows: int = 1) -> int:
    """Warps for `rows` rows: 1,024 columns are 32 fp32 registers a thread and tensor. One row of that
    many is a warp's, whose threads need no shared memory to sum it."""
    return max(1, min(8, triton.next_power_of_2(hidden) * rows // 1024))
