"""float32: four bytes a number."""

import numpy as np

from gemwire_kernels.formats.weight_format import Bytes, Rows, WeightFormat


def row_bytes(columns: int) -> int:
    return 4 * columns


def quantize(values: Rows) -> Bytes:
    return np.ascontiguousarray(values, np.float32).view(np.uint8)


def dequantize(data: Bytes) -> Rows:
    return data.view(np.float32)


FLOAT32 = WeightFormat("float32", row_bytes, quantize, dequantize)
