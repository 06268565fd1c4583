"""Vectors in the size, length and encoding that a caller asks for."""

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


class Encoding(enum.Enum):
    """How the numbers of a vector become bytes; the .proto says what each is for."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"
    INT8_FIXED = "int8_fixed"
    UBINARY = "ubinary"
    BINARY = "binary"
    UBINARY_LSB = "ubinary_lsb"

    @property
    def bits(self) -> int:
        """Bits that a number takes."""
        return _BITS.get(self, 1)


_BITS = {
    Encoding.FLOAT32: 32,
    Encoding.BFLOAT16: 16,
    Encoding.FLOAT16: 16,
    Encoding.INT8: 8,
    Encoding.INT8_FIXED: 8,
}


@dataclass(frozen=True, slots=True)
class VectorFormat:
    """The vectors that a caller asks for. `normalize` is for unit vectors: it is False for the head's
    output, `Output.RAW`, which is only cut."""

    dimensions: int
    normalize: bool = True
    encoding: Encoding = Encoding.FLOAT32

    @property
    def vector_bytes(self) -> int:
        """Bytes of an encoded vector, without a scale."""
        return -(-self.dimensions * self.encoding.bits // 8)


def cut(vectors: NDArray[np.float32], form: VectorFormat) -> NDArray[np.float32]:
    """The first dimensions of the rows, normalized again if asked; fp32 [n, form.dimensions]. Only rows
    of length one may be normalized."""
    part = vectors[:, : form.dimensions]
    if form.normalize and form.dimensions < vectors.shape[1]:
        part = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
    return part


def encode(
    vectors: NDArray[np.float32], encoding: Encoding
) -> tuple[Bytes, NDArray[np.float32] | None]:
    """The rows as uint8 [n, bytes a vector], and for INT8 and INT8_FIXED the scale of each, fp32 [n]."""
    match encoding:
        case Encoding.FLOAT32:
            return little_endian(vectors, "<f4"), None
        case Encoding.BFLOAT16:
            bits = np.ascontiguousarray(vectors).view(np.uint32)
            # Adding half of the cut part, less one if the kept part is even, rounds to nearest even.
            rounded = bits + 0x7FFF + ((bits >> 16) & 1)
            return little_endian(rounded >> 16, "<u2"), None
        case Encoding.FLOAT16:
            return little_endian(vectors, "<f2"), None
        case Encoding.INT8:
            largest = np.abs(vectors).max(axis=1)
            scale = np.where(largest > 0, largest / np.float32(127), np.float32(1))
            return np.rint(vectors / scale[:, None]).astype(np.int8).view(np.uint8), scale
        case Encoding.INT8_FIXED:
            steps = np.rint(np.clip(vectors, -1, 1) * np.float32(127))
            fixed = np.full(len(vectors), 1 / 127, np.float32)
            return steps.astype(np.int8).view(np.uint8), fixed
        case Encoding.UBINARY:
            return np.packbits(vectors > 0, axis=1), None
        case Encoding.BINARY:
            return np.packbits(vectors > 0, axis=1) - np.uint8(128), None
        case Encoding.UBINARY_LSB:
            return np.packbits(vectors > 0, axis=1, bitorder="little"), None


def little_endian(values: NDArray[np.generic], dtype: str) -> Bytes:
    """The bytes of each row: uint8 [n, bytes a row]."""
    rows = np.ascontiguousarray(values, dtype=dtype)
    return rows.reshape(len(rows), -1).view(np.uint8)
