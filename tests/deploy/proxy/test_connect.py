"""Connect through the Envoy of deploy/envoy/web.yaml, and what pages of other origins may do."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from google.protobuf.json_format import MessageToJson
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo

from faults.under_test import UnderTest
from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from support.proxy import envoy_process
from support.proxy.process import replaced
from support.web_calls import (
    EMBEDDING,
    END_OF_CONNECT_STREAM,
    Answer,
    connect,
    framed,
    frames,
    request,
)

TEXT = pb.EmbedRequest(input=pb.EmbedInput(text="Mars"))
EMPTY = pb.EmbedRequest(input=pb.EmbedInput(text=""))
STREAM = {"content-type": "application/connect+proto", "connect-protocol-version": "1"}
PAGE = {"origin": "https://app.example.com"}
OTHER_PAGE = {"origin": "https://other.example.com"}
PREFLIGHT = {"access-control-request-method": "POST"}
WANTED = (
    "authorization,connect-protocol-version,connect-timeout-ms,content-type,grpc-timeout,x-grpc-web"
)


def get(address: str, message: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    """Embed by Connect's GET."""
    encoded = base64.urlsafe_b64encode(message).decode().rstrip("=")
    query = {"connect": "v1", "encoding": "proto", "base64": "1", "message": encoded}
    return request(address, "GET", f"{EMBEDDING}Embed?{urlencode(query)}", headers=headers)


def post(address: str, message: bytes) -> Answer:
    return connect(address, "Embed", message)


each_verb = pytest.mark.parametrize("call", [post, get])


@each_verb
def test_embed(web: str, stub: EmbeddingServiceStub, call: Any) -> None:
    answer = call(web, TEXT.SerializeToString())
    assert (answer.status, answer.headers["content-type"]) == (200, "application/proto")
    assert pb.EmbedResponse.FromString(answer.body) == stub.Embed(TEXT)
    assert answer.headers["trailer-x-request-id"]


@each_verb
def test_an_error(web: str, call: Any) -> None:
    answer = call(web, EMPTY.SerializeToString())
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    error = json.loads(answer.body)
    assert (error["code"], error["message"]) == ("invalid_argument", "the text is empty")
    check_empty_text(error)


def check_empty_text(error: dict[str, Any]) -> None:
    """Asserts that the details are those of EMPTY_TEXT. Envoy writes URLs where Connect has names alone."""
    first, second = error["details"]
    prefix = "type.googleapis.com/google.rpc."
    assert (first["type"], second["type"]) == (f"{prefix}ErrorInfo", f"{prefix}BadRequest")
    info = ErrorInfo.FromString(base64.b64decode(first["value"]))
    assert (info.reason, info.domain) == ("EMPTY_TEXT", "gemwire.dev")
    bad = BadRequest.FromString(base64.b64decode(second["value"]))
    assert [violation.field for violation in bad.field_violations] == ["input.text"]


def test_json_is_not_understood(web: str) -> None:
    headers = {"content-type": "application/json"}
    answer = connect(web, "Embed", MessageToJson(TEXT).encode(), headers)
    error = json.loads(answer.body)
    assert (answer.status, error["code"]) == (400, "invalid_argument")
    info = ErrorInfo.FromString(base64.b64decode(error["details"][0]["value"]))
    assert info.reason == "MALFORMED_MESSAGE"


def test_a_method_that_is_not_there(web: str) -> None:
    answer = connect(web, "Nothing", b"")
    assert (answer.status, json.loads(answer.body)["code"]) == (404, "unimplemented")


def test_a_deadline_holds(web: str, web_server: UnderTest) -> None:
    with web_server.controls.held():
        for _ in range(5):
            answer = connect(
                web, "Embed", TEXT.SerializeToString(), headers={"connect-timeout-ms": "300"}
            )
            assert json.loads(answer.body)["code"] == "deadline_exceeded", answer


def test_a_stream_whose_messages_are_all_in_one_body(web: str, stub: EmbeddingServiceStub) -> None:
    opening = pb.EmbedStreamRequest(open=pb.StreamOpen())
    inputs = [pb.EmbedInput(text=text) for text in ("Mars", "")]
    batch = pb.EmbedStreamRequest(batch=pb.StreamBatch(first_id=7, inputs=inputs))
    body = framed(opening.SerializeToString()) + framed(batch.SerializeToString())
    answer = request(web, "POST", f"{EMBEDDING}EmbedStream", body, STREAM)
    assert (answer.status, answer.headers["content-type"]) == (200, STREAM["content-type"])
    *data, (flags, end) = frames(answer.body)
    assert flags == END_OF_CONNECT_STREAM and "error" not in json.loads(end)
    first, *rest = [pb.EmbedStreamResponse.FromString(message) for _, message in data]
    assert first.opened.max_inflight_inputs
    results = {result.id: result for message in rest for result in message.results.results}
    assert results[7].embedding == stub.Embed(TEXT).embedding
    assert results[8].error.message == "the text is empty"


def test_a_stream_that_is_refused(web: str) -> None:
    message = pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[pb.EmbedInput(text="Mars")]))
    body = framed(message.SerializeToString())
    answer = request(web, "POST", f"{EMBEDDING}EmbedStream", body, STREAM)
    ((flags, end),) = frames(answer.body)
    error = json.loads(end)["error"]
    assert (answer.status, flags, error["code"]) == (200, END_OF_CONNECT_STREAM, "invalid_argument")
    info = ErrorInfo.FromString(base64.b64decode(error["details"][0]["value"]))
    assert info.reason == "STREAM_NOT_OPEN"


def large() -> pb.BatchEmbedRequest:
    """Request and answer have more than 1 MiB each, where Envoy stops to hold them unless it is set."""
    inputs = [pb.EmbedInput(text=f"text {i}" + " " * 300) for i in range(4000)]
    made = pb.BatchEmbedRequest(inputs=inputs)
    assert made.ByteSize() > 1 << 20
    return made


def test_a_large_request_and_answer(web: str, stub: EmbeddingServiceStub) -> None:
    answer = connect(web, "BatchEmbed", large().SerializeToString())
    assert answer.status == 200 and len(answer.body) > 1 << 20
    wanted = stub.BatchEmbed(large())
    assert pb.BatchEmbedResponse.FromString(answer.body) == wanted


def test_a_large_request_needs_the_setting(tmp_path: Path, web_server: UnderTest) -> None:
    config = replaced(
        envoy_process.WEB.read_text(), "per_connection_buffer_limit_bytes: 68157440", "#"
    )
    with envoy_process.envoy(tmp_path, config, [web_server.address]) as address:
        answer = connect(address, "BatchEmbed", large().SerializeToString())
    assert answer.status != 200


@pytest.mark.parametrize("path", ["Embed", "EmbedStream", "/gemwire.v1.ModelService/ListModels"])
def test_a_page_that_is_named_may_call(web: str, path: str) -> None:
    asked = PREFLIGHT | PAGE | {"access-control-request-headers": WANTED}
    answer = request(
        web, "OPTIONS", path if path.startswith("/") else EMBEDDING + path, headers=asked
    )
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == PAGE["origin"]
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].replace(" ", "").split(",")
    assert set(WANTED.split(",")) <= set(allowed)
    assert "access-control-allow-credentials" not in answer.headers


def test_a_named_page_reads_why_a_call_failed(web: str) -> None:
    answer = connect(web, "Embed", EMPTY.SerializeToString(), PAGE)
    assert answer.headers["access-control-allow-origin"] == PAGE["origin"]
    exposed = answer.headers["access-control-expose-headers"].replace(" ", "").split(",")
    assert {"grpc-status", "grpc-message", "grpc-status-details-bin"} <= set(exposed)


def test_other_pages_may_not(web: str) -> None:
    asked = PREFLIGHT | OTHER_PAGE
    for answer in (
        request(web, "OPTIONS", f"{EMBEDDING}Embed", headers=asked),
        connect(web, "Embed", TEXT.SerializeToString(), OTHER_PAGE),
    ):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.status == 200 and "grpc-status" not in answer.headers
