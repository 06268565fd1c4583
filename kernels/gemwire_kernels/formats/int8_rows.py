"""int8 by row: a block is a row, with one scale.

A row holds its scale, fp32, and then its integers, one byte a column. A number is scale * integer;
the largest magnitude of a row is 127 steps.
"""

import numpy as np
from numpy.typing import NDArray

from gemwire_kernels.formats.weight_format import Bytes, Rows, WeightFormat

SCALE_BYTES = 4
# The inverse of a smaller scale overflows float32.
SMALLEST_SCALE = np.float32(2**-128)


def row_bytes(columns: int) -> int:
    return SCALE_BYTES + columns


def quantize(values: Rows) -> Bytes:
    """Rounds each row by its own scale. A row that is not finite gets a scale of NaN, and zeros; a row
    whose scale has no inverse in float32 gets zeros.
    """
    values = np.ascontiguousarray(values, np.float32)
    scales = np.abs(values).max(axis=1, initial=0) / np.float32(127)
    scales[~np.isfinite(values).all(axis=1)] = np.nan
    inverse = np.zeros_like(scales)
    np.divide(np.float32(1), scales, out=inverse, where=scales > SMALLEST_SCALE)
    # The native kernel fuses the product with the rounding, which is one rounding of the exact product;
    # two float32 multiply exactly in float64. Ties go to even.
    finite = np.where(inverse[:, None] > 0, values, 0)
    integers = np.rint(finite.astype(np.float64) * inverse[:, None]).astype(np.int8)
    return np.concatenate((scales[:, None].view(np.uint8), integers.view(np.uint8)), axis=1)


def dequantize(data: Bytes) -> Rows:
    scales, integers = split(data)
    return scales[:, None] * integers.astype(np.float32)


def split(data: Bytes) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Returns the scales, fp32 [rows], and the integers, int8 [rows, columns]."""
    scales = np.ascontiguousarray(data[:, :SCALE_BYTES]).view(np.float32)[:, 0]
    return scales, data[:, SCALE_BYTES:].view(np.int8)


INT8_ROWS = WeightFormat("int8", row_bytes, quantize, dequantize)
