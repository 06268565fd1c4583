"""Vectors, and spans of tokens, to the bytes of their messages, many at a time."""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.grpc.records import Field, block, delimited, field, varint
from gemwire_server.fronts.grpc.status import to_status
from gemwire_server.service.results import EmbedResults
from gemwire_server.service.vectors import (
    Bytes,
    Encoding,
    VectorFormat,
    cut,
    encode,
    little_endian,
)

ENCODING_NUMBERS: dict[Encoding, int] = {
    each: pb.VectorEncoding.Value(f"VECTOR_ENCODING_{each.name}") for each in Encoding
}

# Field tags: number << 3 | wire type, of gemwire.v1 messages.
VALUES, DATA, DIMENSIONS, ENCODING = b"\x0a", b"\x12", b"\x18", b"\x20"
SCALE, TOKEN_COUNT, TRUNCATED = b"\x2d", b"\x35", b"\x38"
EMBED_RESPONSE_EMBEDDING = b"\x0a"
RESULTS, EMBED_RESULT_EMBEDDING = b"\x0a", b"\x0a"
SPANS, SPAN_START, SPAN_END = b"\x22", b"\x08", b"\x10"
STREAM_RESULT_ID, STREAM_RESULT_EMBEDDING = b"\x09", b"\x12"
# From each of them on, an integer of 32 bits takes one byte more in base 128; 0 takes none here.
VARINT_STEPS = np.array([1, 1 << 7, 1 << 14, 1 << 21, 1 << 28], np.uint32)

# Bytes of an answer beside its results, which are timing and revision, at most; of a result beside its
# vector; and of an error in a vector's place. Clients count so too: see Limits.max_response_bytes.
BESIDE_RESULTS, BESIDE_VECTOR, ERROR_BYTES = 1024, 48, 512


def results_that_fit(form: VectorFormat, limit: int) -> int:
    """How many results an answer of `limit` bytes surely holds, as Limits.max_response_bytes counts."""
    return (limit - BESIDE_RESULTS) // max(form.vector_bytes + BESIDE_VECTOR, ERROR_BYTES)


def errors_that_fit(limit: int) -> int:
    """How many results an answer of `limit` bytes surely holds where none is larger than an error."""
    return (limit - BESIDE_RESULTS) // ERROR_BYTES


def embed_response(results: EmbedResults, form: VectorFormat, rest: pb.EmbedResponse) -> bytes:
    """EmbedResponse of one text; `rest` has the other fields."""
    record = delimited(EMBED_RESPONSE_EMBEDDING, _embedding(results, slice(0, 1), form))
    return block(record, 1) + rest.SerializeToString()


def batch_response(results: EmbedResults, form: VectorFormat, rest: pb.BatchEmbedResponse) -> bytes:
    """BatchEmbedResponse with results in order; `rest` has the other fields."""
    pieces = []
    for rows, error in _runs(results, results.truncated):
        if error is not None:
            result = pb.EmbedResult(error=to_status(error))
            pieces.append(field(RESULTS, result.SerializeToString()))
            continue
        record = delimited(EMBED_RESULT_EMBEDDING, _embedding(results, rows, form))
        pieces.append(block(delimited(RESULTS, record), rows.stop - rows.start))
    return b"".join([*pieces, rest.SerializeToString()])


def stream_results(results: EmbedResults, ids: NDArray[np.uint64], form: VectorFormat) -> bytes:
    """The field `results` of StreamResults; `ids` are uint64 [n]."""
    pieces = []
    # Id 0 is a default, which protobuf leaves out: a record of another size, as a cut text's is.
    for rows, error in _runs(results, results.truncated * 2 + (ids == 0)):
        if error is not None:
            result = pb.StreamResult(id=int(ids[rows.start]), error=to_status(error))
            pieces.append(field(RESULTS, result.SerializeToString()))
            continue
        record = delimited(STREAM_RESULT_EMBEDDING, _embedding(results, rows, form))
        if ids[rows.start] != 0:
            record = [STREAM_RESULT_ID, little_endian(ids[rows], "<u8"), *record]
        pieces.append(block(delimited(RESULTS, record), rows.stop - rows.start))
    return b"".join(pieces)


def token_spans(spans: NDArray[np.uint32]) -> bytes:
    """The field `spans` of TokenizeResponse; `spans` are uint32 [n, 2], begins and ends."""
    # Neighbours whose integers have as many bytes are records of one size; protobuf leaves out zeros.
    widths = np.sum(spans[..., None] >= VARINT_STEPS, axis=-1)
    breaks = np.flatnonzero((np.diff(widths, axis=0) != 0).any(axis=1)) + 1
    pieces = []
    for start, stop in itertools.pairwise(sorted({0, *breaks.tolist(), len(spans)})):
        record: list[Field] = []
        for tag, column, width in zip((SPAN_START, SPAN_END), spans.T, widths[start], strict=True):
            if width:
                record += [tag, _varints(column[start:stop], int(width))]
        pieces.append(block(delimited(SPANS, record), stop - start))
    return b"".join(pieces)


def _varints(values: NDArray[np.uint32], width: int) -> Bytes:
    """Integers that take `width` bytes each in base 128, uint8 [n, width]."""
    digits = (values[:, None] >> np.arange(0, 7 * width, 7, dtype=np.uint32) & 0x7F).astype(
        np.uint8
    )
    digits[:, :-1] |= 0x80
    return digits


def _runs(
    results: EmbedResults, shape: NDArray[np.integer] | NDArray[np.bool_]
) -> Iterator[tuple[slice, GemwireError | None]]:
    """Neighbours whose records have one size, as a slice; each error by itself."""
    breaks = np.flatnonzero(np.diff(shape)) + 1
    edges = {0, len(shape), *breaks.tolist()}
    for row in results.errors:
        edges |= {row, row + 1}
    ordered = sorted(edges)
    for start, stop in itertools.pairwise(ordered):
        yield slice(start, stop), results.errors.get(start)


def _embedding(results: EmbedResults, rows: slice, form: VectorFormat) -> list[Field]:
    """The fields of Embedding; all rows alike in `truncated`."""
    payload, scale = encode(cut(results.vectors[rows], form), form.encoding)
    is_float32 = form.encoding is Encoding.FLOAT32
    fields: list[Field] = delimited(VALUES if is_float32 else DATA, [payload])
    fields.append(
        DIMENSIONS + varint(form.dimensions) + ENCODING + varint(ENCODING_NUMBERS[form.encoding])
    )
    if scale is not None:
        fields += [SCALE, little_endian(scale, "<f4")]
    fields += [TOKEN_COUNT, little_endian(results.token_counts[rows], "<u4")]
    if results.truncated[rows.start]:
        fields.append(TRUNCATED + b"\x01")
    return fields
