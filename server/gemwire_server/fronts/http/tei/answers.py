"""Writes answers as JSON."""

from collections.abc import Iterable

import numpy as np
import orjson
from numpy.typing import NDArray

from gemwire_server.dialects.tei.tokens import TextTokens
from gemwire_server.errors import response_too_large
from gemwire_server.fronts.http.numbers import BYTES, write_numbers

# Bytes of a vector beside its numbers.
BESIDE_NUMBERS = 2


def vector_bytes(dimensions: int) -> int:
    """The most bytes that a vector should take in an answer."""
    return BYTES * dimensions + BESIDE_NUMBERS


def check_size(count: int, dimensions: int, limit: int) -> None:
    """Raises InvalidInput for vectors that do not fit in an answer of `limit` bytes."""
    most = limit // vector_bytes(dimensions)
    if count > most:
        raise response_too_large(
            f"the answer to {count} inputs can have too many bytes",
            limit,
            f"send at most {most} at once, or ask for fewer dimensions",
            field="inputs",
            count=count,
            most=most,
        )


def vectors(rows: NDArray[np.float32]) -> bytes:
    """The array of the rows of fp32 [n, dimensions]. Between rows other threads run."""
    return array(map(write_numbers, np.ascontiguousarray(rows)))


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
