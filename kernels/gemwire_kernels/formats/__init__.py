"""Formats of weights: how the rows of a matrix are laid out in bytes.

A format is a file here. NumPy alone quantizes and dequantizes: these functions are the oracle of the
kernels that multiply a format. A backend says in `formats` and at its construction which formats it
takes and multiplies.
"""

from gemwire_kernels.formats.bfloat16 import BFLOAT16
from gemwire_kernels.formats.float32 import FLOAT32
from gemwire_kernels.formats.int8_rows import INT8_ROWS
from gemwire_kernels.formats.stored import Stored
from gemwire_kernels.formats.weight_format import FormatError, WeightFormat, check_offered

FORMATS = {each.name: each for each in (FLOAT32, BFLOAT16, INT8_ROWS)}
"""Every format by its name."""

__all__ = [
    "BFLOAT16",
    "FLOAT32",
    "FORMATS",
    "INT8_ROWS",
    "FormatError",
    "Stored",
    "WeightFormat",
    "check_offered",
]
