"""What the kernels share that hold whole rows: their norm, and how rows become programs."""

import triton
import triton.language as tl

# Rows a program holds at once: enough independent loads to keep memory busy, within its registers.
ROWS = 4


@triton.jit
def rms_scale(x, HIDDEN: tl.constexpr, eps):
    """1 / sqrt(mean(x^2) + eps) of each row, fp32 (arXiv:1910.07467); beyond HIDDEN x is zero."""
    return tl.rsqrt(tl.sum(x * x, 1) / HIDDEN + eps)


def row_grid(rows: int) -> tuple[int]:
    return (triton.cdiv(rows, ROWS),)


def row_warps(hidden: int) -> int:
    """Warps for ROWS rows: 1,024 columns are 32 fp32 registers a thread and tensor."""
    return max(1, min(8, triton.next_power_of_2(hidden) * ROWS // 1024))
