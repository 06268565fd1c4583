"""Messages and statuses of the scripted server, made of what a case says in JSON."""

from typing import Any

import grpc
import numpy as np
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from gemwire.v1 import embedding_pb2 as pb

DOMAIN = "gemwire.dev"
REVISION = "r1"
MODEL: dict[str, Any] = {
    "name": "models/scripted",
    "displayName": "scripted",
    "revision": REVISION,
    "dtype": "bfloat16",
    "dimensions": 2,
    "supportedDimensions": [2],
    "defaultDimensions": 2,
    "maxInputTokens": 2048,
    "vocabularySize": 1000,
    "limits": {
        "maxInputsPerRequest": 8,
        "maxRequestBytes": 200_000,
        "maxBatchTokens": 8192,
        "maxQueueTokens": 65_536,
        "maxStreamInflightInputs": 16,
        "maxResponseBytes": 4 << 20,
    },
    "serverVersion": "0.0.0",
}
REQUESTS: dict[str, type[Message]] = {
    "Embed": pb.EmbedRequest,
    "BatchEmbed": pb.BatchEmbedRequest,
    "ComputeSimilarity": pb.ComputeSimilarityRequest,
    "Tokenize": pb.TokenizeRequest,
    "Detokenize": pb.DetokenizeRequest,
}
RESPONSES: dict[str, type[Message]] = {
    "Embed": pb.EmbedResponse,
    "BatchEmbed": pb.BatchEmbedResponse,
    "ComputeSimilarity": pb.ComputeSimilarityResponse,
    "Tokenize": pb.TokenizeResponse,
    "Detokenize": pb.DetokenizeResponse,
}


def model(differs: dict[str, Any]) -> pb.Model:
    """The scripted server's model, with what differs in a case."""
    merged = MODEL | differs
    merged["limits"] = MODEL["limits"] | differs.get("limits", {})
    return ParseDict(merged, pb.Model())


def vector(number: int) -> pb.Embedding:
    """The vector of the text with this id: [id, 1]."""
    return pb.Embedding(
        values=[number, 1], dimensions=2, encoding=pb.VECTOR_ENCODING_FLOAT32, token_count=3
    )


def response(method: str, request: Any, step: dict[str, Any]) -> Message:
    """The response of a step, to any request that the step takes."""
    if "response_numbers" in step:  # vectors too large to write down
        embedding = pb.Embedding(
            values=np.zeros(step["response_numbers"], np.float32),
            dimensions=step["response_numbers"],
            encoding=pb.VECTOR_ENCODING_FLOAT32,
        )
        results = [pb.EmbedResult(embedding=embedding)] * len(request.inputs)
        return pb.BatchEmbedResponse(results=results, model_revision=REVISION)
    return ParseDict(step["response"], RESPONSES[method]())


def unknown(number: int) -> pb.EmbedStreamResponse:
    """A message with nothing but a field that no client knows: its number, and a varint 1."""
    key = number << 3
    encoded = bytearray()
    while key > 127:
        encoded.append(key & 127 | 128)
        key >>= 7
    return pb.EmbedStreamResponse.FromString(bytes([*encoded, key, 1]))


def status(said: dict[str, Any]) -> Status:
    """A status; its details are those of a gemwire server if it has a reason, and none otherwise."""
    code = grpc.StatusCode[said.get("code", "OK")]
    made = Status(code=code.value[0], message=said.get("message", said.get("reason", "")))
    if "reason" in said:
        made.details.add().Pack(
            error_details_pb2.ErrorInfo(
                reason=said["reason"],
                domain=said.get("domain", DOMAIN),
                metadata=said.get("metadata", {}),
            )
        )
    if "fields" in said:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
            for field, description in said["fields"].items()
        ]
        made.details.add().Pack(error_details_pb2.BadRequest(field_violations=violations))
    if "retry_delay" in said:
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromNanoseconds(round(said["retry_delay"] * 1e9))
        made.details.add().Pack(info)
    return made


def same(got: Message, said: dict[str, Any]) -> bool:
    """Whether a request is the message that a case says, where a default may be sent or left out."""
    expected = ParseDict(said, type(got)())
    return _canonical(got) == _canonical(expected)


def _canonical(message: Message) -> Message:
    copied = type(message)()
    copied.CopyFrom(message)
    for name in ("options", "target_options"):
        if name in copied.DESCRIPTOR.fields_by_name and (
            name == "options" or copied.HasField(name)
        ):
            options = getattr(copied, name)
            options.SetInParent()
            if not options.HasField("normalize"):
                options.normalize = True
            options.truncation = options.truncation or pb.TRUNCATION_ERROR
            options.encoding = options.encoding or pb.VECTOR_ENCODING_FLOAT32
    return copied
