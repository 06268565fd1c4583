"""Writes answers as JSON. orjson writes rows of NumPy's blocks without an object for each number, which
are in the fewest digits that give the same float32 again."""

from collections.abc import Iterable

import numpy as np
import orjson
from numpy.typing import NDArray

from gemwire_server.dialects.tei.tokens import TextTokens
from gemwire_server.errors import response_too_large

# The most bytes that a number should take, and a vector beside its numbers.
FLOAT_BYTES = 13
BESIDE_NUMBERS = 2
# How many numbers are written in a microsecond.
NUMBERS_PER_MICROSECOND = 48


def check_size(count: int, dimensions: int, limit: int) -> None:
    """Raises InvalidInput for vectors that do not fit in an answer of `limit` bytes."""
    most = limit // (FLOAT_BYTES * dimensions + BESIDE_NUMBERS)
    if count > most:
        raise response_too_large(
            f"the answer to {count} inputs can have too many bytes",
            limit,
            f"send at most {most} at once, or ask for fewer dimensions",
            field="inputs",
            count=count,
            most=most,
        )


def numbers(rows: NDArray[np.float32]) -> bytes:
    """The array of a vector's numbers, fp32 [n], or of the rows of fp32 [T, n]."""
    return orjson.dumps(np.ascontiguousarray(rows), option=orjson.OPT_SERIALIZE_NUMPY)


def array(parts: Iterable[bytes]) -> bytes:
    """The array of what is written already."""
    return b"[%b]" % b",".join(parts)


def tokens(text: TextTokens) -> bytes:
    """The array of a text's tokens."""
    return orjson.dumps(
        [
            {
                "id": token,
                "text": part,
                "special": span is None,
                "start": None if span is None else span[0],
                "stop": None if span is None else span[1],
            }
            for token, part, span in text.rows()
        ]
    )
