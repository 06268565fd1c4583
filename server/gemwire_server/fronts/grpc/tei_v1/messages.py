"""Translates messages of tei.v1 to the dialect's plain values, and back."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gemwire_compat import tei_pb2 as pb
from gemwire_server.dialects.tei.errors import refused
from gemwire_server.dialects.tei.info import Info
from gemwire_server.dialects.tei.metadata import Metadata
from gemwire_server.dialects.tei.requests import TextOptions
from gemwire_server.dialects.tei.tokens import TextTokens
from gemwire_server.fronts.grpc.records import block, delimited, field, varint
from gemwire_server.service.vectors import little_endian

LEFT = pb.TRUNCATION_DIRECTION_LEFT
DIRECTIONS = pb.TruncationDirection.values()
# Field tags: number << 3 | wire type.
EMBEDDINGS, TOKEN_EMBEDDINGS, METADATA = b"\x0a", b"\x0a", b"\x12"
# The most bytes of a row in EmbedAllResponse beside its numbers, with its share of the metadata: a text
# has three tokens or more.
BESIDE_ROW = 48


def read_embed(raw: pb.EmbedRequest) -> TextOptions:
    """The options of a request. Raises Refused for a direction that the API does not have."""
    return TextOptions(
        truncate=raw.truncate,
        truncate_left=_is_left(raw.truncation_direction),
        prompt_name=raw.prompt_name if raw.HasField("prompt_name") else None,
        normalize=raw.normalize if raw.HasField("normalize") else True,
        dimensions=raw.dimensions if raw.HasField("dimensions") else None,
    )


def read_embed_all(raw: pb.EmbedAllRequest) -> TextOptions:
    """As `read_embed`."""
    return TextOptions(
        truncate=raw.truncate,
        truncate_left=_is_left(raw.truncation_direction),
        prompt_name=raw.prompt_name if raw.HasField("prompt_name") else None,
    )


def _is_left(direction: int) -> bool:
    if direction not in DIRECTIONS:
        raise refused(
            "UNKNOWN_TRUNCATION_DIRECTION",
            f"`truncation_direction` {direction} is not a value of the API this server speaks",
            "truncation_direction",
        )
    return direction == LEFT


def embed_responses(vectors: NDArray[np.float32], metadata: Sequence[Metadata]) -> list[bytes]:
    """EmbedResponse of each row, fp32 [n, dimensions]."""
    payload = little_endian(vectors, "<f4")
    head = EMBEDDINGS + varint(payload.shape[1])
    return [
        head + row.tobytes() + _metadata(each) for row, each in zip(payload, metadata, strict=True)
    ]


def embed_all_response(rows: NDArray[np.float32], metadata: Metadata) -> bytes:
    """EmbedAllResponse of the states of a text's tokens, fp32 [T, hidden]."""
    record = delimited(EMBEDDINGS, [little_endian(rows, "<f4")])
    return block(delimited(TOKEN_EMBEDDINGS, record), len(rows)) + _metadata(metadata)


def _metadata(metadata: Metadata) -> bytes:
    """The field `metadata` of an answer."""
    raw = pb.Metadata(
        compute_chars=metadata.characters,
        compute_tokens=metadata.tokens,
        total_time_ns=metadata.total_ns,
        tokenization_time_ns=metadata.tokenization_ns,
        queue_time_ns=metadata.queue_ns,
        inference_time_ns=metadata.inference_ns,
    ).SerializeToString()
    return field(METADATA, raw)


def encode_response(tokens: TextTokens) -> pb.EncodeResponse:
    response = pb.EncodeResponse()
    for token, text, span in tokens.rows():
        if span is None:
            response.tokens.add(id=token, text=text, special=True)
        else:
            response.tokens.add(id=token, text=text, start=span[0], stop=span[1])
    return response


def info_response(info: Info) -> pb.InfoResponse:
    return pb.InfoResponse(
        version=info.version,
        model_id=info.model_id,
        model_sha=info.model_sha,
        model_dtype=info.model_dtype,
        model_type=pb.MODEL_TYPE_EMBEDDING,
        max_concurrent_requests=info.max_concurrent_requests,
        max_input_length=info.max_input_length,
        max_batch_tokens=info.max_batch_tokens,
        max_client_batch_size=info.max_client_batch_size,
        tokenization_workers=info.tokenization_workers,
    )
