"""Writes the numbers of vectors as JSON.

No number becomes a Python object: orjson writes NumPy's blocks, each number in the fewest digits that give
the same float32 again.
"""

import numpy as np
import orjson
from numpy.typing import NDArray

# The numbers of a vector of length one take 12 bytes on average, comma included, and a little more where
# there are many of them.
BYTES = 13
# How many are written in a microsecond.
PER_MICROSECOND = 48


def write_numbers(rows: NDArray[np.float32]) -> bytes:
    """The array of a vector's numbers, fp32 [n], or of the rows of fp32 [T, n]. They lie one after the
    other in memory."""
    return orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)
