"""Vectors to the bytes of their messages, many at a time.

protobuf's Python writes a repeated float from numpy element by element (120 us for 768 of them). A
packed repeated float has the same bytes as a `bytes` field, and records of a batch have one size: so the
rows of one numpy block are the records, copied once. The bytes equal protobuf's own.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.grpc.status import to_status

Bytes = NDArray[np.uint8]
Field = bytes | Bytes
"""Part of a record: the same bytes in every record, or uint8 [n, width] with a row for each."""

# Field tags: number << 3 | wire type, of gemwire.v1 messages.
VALUES, DATA, DIMENSIONS, ENCODING = b"\x0a", b"\x12", b"\x18", b"\x20"
SCALE, TOKEN_COUNT, TRUNCATED = b"\x2d", b"\x35", b"\x38"
EMBED_RESPONSE_EMBEDDING = b"\x0a"
RESULTS, EMBED_RESULT_EMBEDDING = b"\x0a", b"\x0a"
STREAM_RESULT_ID, STREAM_RESULT_EMBEDDING = b"\x09", b"\x12"


@dataclass(frozen=True, slots=True)
class VectorFormat:
    """How vectors are to travel."""

    dimensions: int
    normalize: bool
    encoding: pb.VectorEncoding


@dataclass(slots=True)
class EmbedResults:
    """What n texts of a call came to. Rows of `vectors` (fp32 [n, full size], length one) that have an
    entry in `errors` mean nothing."""

    vectors: NDArray[np.float32]
    token_counts: NDArray[np.uint32]
    truncated: NDArray[np.bool_]
    errors: dict[int, GemwireError]


# Bytes of an answer beside its results, which are timing and revision, at most; of a result beside its
# vector; and of an error in a vector's place. Clients count so too: see Limits.max_response_bytes.
BESIDE_RESULTS, BESIDE_VECTOR, ERROR_BYTES = 1024, 48, 512
# Bits that a number of a vector takes.
BITS = {
    pb.VECTOR_ENCODING_FLOAT32: 32,
    pb.VECTOR_ENCODING_BFLOAT16: 16,
    pb.VECTOR_ENCODING_FLOAT16: 16,
    pb.VECTOR_ENCODING_INT8: 8,
    pb.VECTOR_ENCODING_INT8_FIXED: 8,
    pb.VECTOR_ENCODING_UBINARY: 1,
    pb.VECTOR_ENCODING_BINARY: 1,
    pb.VECTOR_ENCODING_UBINARY_LSB: 1,
}


def results_that_fit(how: VectorFormat, limit: int) -> int:
    """How many results an answer of `limit` bytes surely holds, as Limits.max_response_bytes counts."""
    vector = -(-how.dimensions * BITS[how.encoding] // 8)
    return (limit - BESIDE_RESULTS) // max(vector + BESIDE_VECTOR, ERROR_BYTES)


def cut(vectors: NDArray[np.float32], how: VectorFormat) -> NDArray[np.float32]:
    """The first dimensions of unit rows, of length one again if asked; fp32 [n, how.dimensions]."""
    part = vectors[:, : how.dimensions]
    if how.normalize and how.dimensions < vectors.shape[1]:
        part = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
    return part


def embed_response(answers: EmbedResults, how: VectorFormat, rest: pb.EmbedResponse) -> bytes:
    """EmbedResponse of one text; `rest` has the other fields."""
    record = delimited(EMBED_RESPONSE_EMBEDDING, _embedding(answers, slice(0, 1), how))
    return _block(record, 1) + rest.SerializeToString()


def batch_response(answers: EmbedResults, how: VectorFormat, rest: pb.BatchEmbedResponse) -> bytes:
    """BatchEmbedResponse with results in order; `rest` has the other fields."""
    pieces = []
    for rows, error in _runs(answers, answers.truncated):
        if error is not None:
            result = pb.EmbedResult(error=to_status(error)).SerializeToString()
            pieces.append(RESULTS + varint(len(result)) + result)
            continue
        record = delimited(EMBED_RESULT_EMBEDDING, _embedding(answers, rows, how))
        pieces.append(_block(delimited(RESULTS, record), rows.stop - rows.start))
    return b"".join([*pieces, rest.SerializeToString()])


def stream_results(answers: EmbedResults, ids: NDArray[np.uint64], how: VectorFormat) -> bytes:
    """The field `results` of StreamResults; `ids` are uint64 [n]."""
    pieces = []
    # Id 0 is a default, which protobuf leaves out: a record of another size, as a cut text's is.
    for rows, error in _runs(answers, answers.truncated * 2 + (ids == 0)):
        if error is not None:
            result = pb.StreamResult(id=int(ids[rows.start]), error=to_status(error))
            raw = result.SerializeToString()
            pieces.append(RESULTS + varint(len(raw)) + raw)
            continue
        record = delimited(STREAM_RESULT_EMBEDDING, _embedding(answers, rows, how))
        if ids[rows.start] != 0:
            record = [STREAM_RESULT_ID, _little_endian(ids[rows], "<u8"), *record]
        pieces.append(_block(delimited(RESULTS, record), rows.stop - rows.start))
    return b"".join(pieces)


def _runs(
    answers: EmbedResults, shape: NDArray[np.integer] | NDArray[np.bool_]
) -> Iterator[tuple[slice, GemwireError | None]]:
    """Neighbours whose records have one size, as a slice; each error by itself."""
    breaks = np.flatnonzero(np.diff(shape)) + 1
    edges = {0, len(shape), *breaks.tolist()}
    for row in answers.errors:
        edges |= {row, row + 1}
    ordered = sorted(edges)
    for start, stop in itertools.pairwise(ordered):
        yield slice(start, stop), answers.errors.get(start)


def _embedding(answers: EmbedResults, rows: slice, how: VectorFormat) -> list[Field]:
    """The fields of Embedding; all rows alike in `truncated`."""
    payload, scale = encode(cut(answers.vectors[rows], how), how.encoding)
    is_float32 = how.encoding == pb.VECTOR_ENCODING_FLOAT32
    fields: list[Field] = delimited(VALUES if is_float32 else DATA, [payload])
    fields.append(DIMENSIONS + varint(how.dimensions) + ENCODING + varint(how.encoding))
    if scale is not None:
        fields += [SCALE, _little_endian(scale, "<f4")]
    fields += [TOKEN_COUNT, _little_endian(answers.token_counts[rows], "<u4")]
    if answers.truncated[rows.start]:
        fields.append(TRUNCATED + b"\x01")
    return fields


def encode(
    vectors: NDArray[np.float32], encoding: pb.VectorEncoding
) -> tuple[Bytes, NDArray[np.float32] | None]:
    """uint8 [n, bytes a vector], and for INT8 and INT8_FIXED the scale of each, fp32 [n]."""
    if encoding == pb.VECTOR_ENCODING_FLOAT32:
        return _little_endian(vectors, "<f4"), None
    if encoding == pb.VECTOR_ENCODING_BFLOAT16:
        bits = np.ascontiguousarray(vectors).view(np.uint32)
        # Adding half of the cut part, less one if the kept part is even, rounds to nearest even.
        rounded = bits + 0x7FFF + ((bits >> 16) & 1)
        return _little_endian(rounded >> 16, "<u2"), None
    if encoding == pb.VECTOR_ENCODING_FLOAT16:
        return _little_endian(vectors, "<f2"), None
    if encoding == pb.VECTOR_ENCODING_INT8:
        largest = np.abs(vectors).max(axis=1)
        scale = np.where(largest > 0, largest / np.float32(127), np.float32(1))
        return np.rint(vectors / scale[:, None]).astype(np.int8).view(np.uint8), scale
    if encoding == pb.VECTOR_ENCODING_INT8_FIXED:
        steps = np.rint(np.clip(vectors, -1, 1) * np.float32(127))
        scale = np.full(len(vectors), 1 / 127, np.float32)
        return steps.astype(np.int8).view(np.uint8), scale
    if encoding == pb.VECTOR_ENCODING_UBINARY:
        return np.packbits(vectors > 0, axis=1), None
    if encoding == pb.VECTOR_ENCODING_BINARY:
        return np.packbits(vectors > 0, axis=1) - np.uint8(128), None
    if encoding == pb.VECTOR_ENCODING_UBINARY_LSB:
        return np.packbits(vectors > 0, axis=1, bitorder="little"), None
    raise AssertionError(f"encoding {encoding} passed validation; this is a bug")


def delimited(tag: bytes, fields: Sequence[Field]) -> list[Field]:
    """The fields as one length-delimited field."""
    width = sum(len(field) if isinstance(field, bytes) else field.shape[1] for field in fields)
    return [tag + varint(width), *fields]


def _block(record: Sequence[Field], count: int) -> bytes:
    """`count` records end to end, by one copy."""
    parts = [np.frombuffer(f, np.uint8) if isinstance(f, bytes) else f for f in record]
    block = np.empty((count, sum(part.shape[-1] for part in parts)), np.uint8)
    at = 0
    for part in parts:
        block[:, at : at + part.shape[-1]] = part
        at += part.shape[-1]
    return block.tobytes()


def _little_endian(values: NDArray[np.generic], dtype: str) -> Bytes:
    """The bytes of each row: uint8 [n, bytes a row]."""
    rows = np.ascontiguousarray(values, dtype=dtype)
    return rows.reshape(len(rows), -1).view(np.uint8)


def varint(value: int) -> bytes:
    """protobuf's base-128 integer (protobuf.dev/programming-guides/encoding)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
