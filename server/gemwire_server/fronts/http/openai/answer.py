"""Writes the vectors of an answer as JSON, a row at a time.

orjson holds the interpreter while it writes, a few microseconds a row; between rows other threads run.
"""

import binascii

import numpy as np
import orjson
from numpy.typing import NDArray

from gemwire_server.errors import response_too_large
from gemwire_server.fronts.http import numbers

# What an answer has beside its vectors, the model's name included, and a vector beside its numbers.
BESIDE_VECTORS = 2048
BESIDE_NUMBERS = 64
# How many numbers are written in a microsecond.
PER_MICROSECOND = {"float": numbers.PER_MICROSECOND, "base64": 384}


def vector_bytes(dimensions: int, encoding_format: str) -> int:
    """The most bytes that a vector should take in an answer."""
    if encoding_format == "base64":
        return BESIDE_NUMBERS + 4 * -(-dimensions * 4 // 3)
    return BESIDE_NUMBERS + numbers.BYTES * dimensions


def check_size(count: int, dimensions: int, encoding_format: str, limit: int) -> None:
    """Raises InvalidInput for vectors that do not fit in an answer of `limit` bytes."""
    most = (limit - BESIDE_VECTORS) // vector_bytes(dimensions, encoding_format)
    if count <= most:
        return
    smaller = "fewer dimensions" + (" or base64" if encoding_format == "float" else "")
    raise response_too_large(
        f"the answer to {count} inputs can have too many bytes",
        limit,
        f"send at most {most} at once, or ask for {smaller}",
        field="input",
        count=count,
        most=most,
    )


def writing_microseconds(count: int, dimensions: int, encoding_format: str) -> int:
    """About the time that `answer` takes."""
    return count * dimensions // PER_MICROSECOND[encoding_format]


def answer(vectors: NDArray[np.float32], tokens: int, encoding_format: str, model: str) -> bytes:
    """The body of an answer; `vectors` are fp32 [n, dimensions], `tokens` those of all inputs."""
    write = _base64 if encoding_format == "base64" else numbers.write_numbers
    rows = [
        b'{"object":"embedding","index":%d,"embedding":%b}' % (i, write(row))
        for i, row in enumerate(np.ascontiguousarray(vectors))
    ]
    rest = {"model": model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    return b'{"object":"list","data":[%b],%b' % (b",".join(rows), orjson.dumps(rest)[1:])


def _base64(row: NDArray[np.float32]) -> bytes:
    return b'"%b"' % binascii.b2a_base64(row.astype("<f4", copy=False).tobytes(), newline=False)
