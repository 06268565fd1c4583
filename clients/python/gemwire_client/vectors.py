"""Embedding messages → numpy."""

import numpy as np
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb

Vector = NDArray[np.float32] | NDArray[np.uint8]
"""float32 [dimensions]; for the encoding "binary" uint8 [dimensions / 8], as numpy.packbits."""


def decode(embedding: pb.Embedding) -> Vector:
    """The vector, as float32 whatever smaller float or integer it travelled as."""
    match embedding.encoding:
        case pb.VECTOR_ENCODING_FLOAT32:
            return np.array(embedding.values, dtype=np.float32)
        case pb.VECTOR_ENCODING_BFLOAT16:
            return (np.frombuffer(embedding.data, "<u2").astype(np.uint32) << 16).view(np.float32)
        case pb.VECTOR_ENCODING_FLOAT16:
            return np.frombuffer(embedding.data, "<f2").astype(np.float32)
        case pb.VECTOR_ENCODING_INT8:
            return np.frombuffer(embedding.data, np.int8) * np.float32(embedding.scale)
        case pb.VECTOR_ENCODING_BINARY:
            return np.frombuffer(embedding.data, np.uint8).copy()
    raise ValueError(
        f"the server answered in encoding {embedding.encoding}, which was not asked for"
    )


def empty(dimensions: int, encoding: pb.VectorEncoding) -> Vector:
    """No vectors: [0, width]."""
    if encoding == pb.VECTOR_ENCODING_BINARY:
        return np.empty((0, -(-dimensions // 8)), np.uint8)
    return np.empty((0, dimensions), np.float32)
