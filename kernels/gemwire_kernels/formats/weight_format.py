"""Defines what a format of weights is."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
"""A matrix [rows, columns]."""

Bytes = NDArray[np.uint8]
"""The same matrix in a format: [rows, bytes of a row]."""


class FormatError(ValueError):
    """A format that a backend does not have, or bytes that do not fit their format."""


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """The layout of a matrix whose rows all have one number of bytes.

    `row_bytes` gives that number for a number of columns. `quantize` rounds fp32 rows to the format;
    `dequantize` gives the fp32 values that the bytes stand for.
    """

    name: str
    row_bytes: Callable[[int], int]
    quantize: Callable[[Rows], Bytes]
    dequantize: Callable[[Bytes], Rows]


def check_offered(wanted: WeightFormat, offered: Collection[WeightFormat], by: str) -> None:
    """Raises FormatError, naming both sides, unless `wanted` is among the formats that `by` offers."""
    if wanted not in offered:
        names = " and ".join(each.name for each in offered)
        raise FormatError(f"{by} take weights in {names}, not in {wanted.name}")
