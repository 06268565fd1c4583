"""Decodes Embedding messages to numpy arrays."""

import numpy as np
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client.errors import GemwireError

Vector = NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int8]
"""float32 [dimensions], except for the encodings that an index takes as they are: "ubinary" and
"ubinary_lsb" are uint8 [dimensions / 8], "binary" is int8 [dimensions / 8], "int8_fixed" is int8
[dimensions], 127 times the vector."""

BITS = (
    pb.VECTOR_ENCODING_UBINARY,
    pb.VECTOR_ENCODING_BINARY,
    pb.VECTOR_ENCODING_UBINARY_LSB,
)


def decode(embedding: pb.Embedding) -> Vector:
    """The vector, see `Vector`. Raises GemwireError for an encoding that this client does not know."""
    match embedding.encoding:
        case pb.VECTOR_ENCODING_FLOAT32:
            return np.array(embedding.values, dtype=np.float32)
        case pb.VECTOR_ENCODING_BFLOAT16:
            return (np.frombuffer(embedding.data, "<u2").astype(np.uint32) << 16).view(np.float32)
        case pb.VECTOR_ENCODING_FLOAT16:
            return np.frombuffer(embedding.data, "<f2").astype(np.float32)
        case pb.VECTOR_ENCODING_INT8:
            return np.frombuffer(embedding.data, np.int8) * np.float32(embedding.scale)
        case pb.VECTOR_ENCODING_INT8_FIXED | pb.VECTOR_ENCODING_BINARY:
            return np.frombuffer(embedding.data, np.int8).copy()
        case pb.VECTOR_ENCODING_UBINARY | pb.VECTOR_ENCODING_UBINARY_LSB:
            return np.frombuffer(embedding.data, np.uint8).copy()
    raise GemwireError(
        f"the server answered in encoding {embedding.encoding}, which this client does not know"
    )


def empty(dimensions: int, encoding: pb.VectorEncoding) -> Vector:
    """An array of no vectors: [0, width]."""
    width = -(-dimensions // 8) if encoding in BITS else dimensions
    match encoding:
        case pb.VECTOR_ENCODING_INT8_FIXED | pb.VECTOR_ENCODING_BINARY:
            return np.empty((0, width), np.int8)
        case pb.VECTOR_ENCODING_UBINARY | pb.VECTOR_ENCODING_UBINARY_LSB:
            return np.empty((0, width), np.uint8)
    return np.empty((0, width), np.float32)
