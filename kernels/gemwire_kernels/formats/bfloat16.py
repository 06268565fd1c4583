"""bfloat16: the upper half of a float32, two bytes a number."""

import numpy as np

from gemwire_kernels.formats.weight_format import Bytes, Rows, WeightFormat

NAN = np.uint16(0x7FC0)


def row_bytes(columns: int) -> int:
    return 2 * columns


def quantize(values: Rows) -> Bytes:
    """Rounds to nearest, ties to even. Every NaN becomes the same NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    halves = (rounded >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(values), NAN, halves).view(np.uint8)


def dequantize(data: Bytes) -> Rows:
    return (data.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)


BFLOAT16 = WeightFormat("bfloat16", row_bytes, quantize, dequantize)
