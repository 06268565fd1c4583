"""gRPC-Web through the Envoy of deploy/envoy/web.yaml, with frames written by hand."""

from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo

from faults.under_test import UnderTest
from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from support.proxy import envoy_process
from support.proxy.process import replaced
from support.web_calls import grpc_web

TEXT = pb.EmbedRequest(input=pb.EmbedInput(text="Mars"))
EMPTY = pb.EmbedRequest(input=pb.EmbedInput(text=""))

both = pytest.mark.parametrize("is_text", [False, True], ids=["binary", "text"])


def test_the_servers_are_reached_as_in_the_file_for_grpc_alone() -> None:
    web, plain = envoy_process.WEB.read_text(), envoy_process.shipped()
    retries = "retry_policy:"
    assert web.partition(retries)[2] == plain.partition(retries)[2] != ""


@both
def test_embed(web: str, stub: EmbeddingServiceStub, is_text: bool) -> None:
    answer = grpc_web(web, "Embed", TEXT.SerializeToString(), is_text=is_text)
    (message,) = answer.messages
    assert pb.EmbedResponse.FromString(message) == stub.Embed(TEXT)
    assert answer.trailers["grpc-status"] == "0"
    assert answer.trailers["x-request-id"]


@both
def test_an_error_has_its_details(web: str, is_text: bool) -> None:
    answer = grpc_web(web, "Embed", EMPTY.SerializeToString(), is_text=is_text)
    assert answer.messages == []
    assert answer.trailers["grpc-status"] == "3"
    assert answer.trailers["grpc-message"] == "the text is empty"
    status = answer.details()
    assert status.code == 3 and status.message == "the text is empty"
    info, bad = ErrorInfo(), BadRequest()
    assert status.details[0].Unpack(info) and status.details[1].Unpack(bad)
    assert (info.reason, info.domain) == ("EMPTY_TEXT", "gemwire.dev")
    assert [violation.field for violation in bad.field_violations] == ["input.text"]


def test_a_message_that_is_none(web: str) -> None:
    answer = grpc_web(web, "Embed", b"\xff")
    assert answer.trailers["grpc-status"] == "3"
    info = ErrorInfo()
    assert answer.details().details[0].Unpack(info)
    assert info.reason == "MALFORMED_MESSAGE"


@both
def test_a_stream_whose_messages_are_all_in_one_body(
    web: str, stub: EmbeddingServiceStub, is_text: bool
) -> None:
    sent = stream_of("one", "two", "")
    answer = grpc_web(
        web, "EmbedStream", *(one.SerializeToString() for one in sent), is_text=is_text
    )
    first, *rest = map(pb.EmbedStreamResponse.FromString, answer.messages)
    assert first.opened.max_inflight_inputs
    results = {result.id: result for message in rest for result in message.results.results}
    assert sorted(results) == [7, 8, 9]
    for id, text in ((7, "one"), (8, "two")):
        request = pb.EmbedRequest(input=pb.EmbedInput(text=text))
        assert results[id].embedding == stub.Embed(request).embedding
    assert results[9].error.message == "the text is empty"
    assert answer.trailers["grpc-status"] == "0"


@both
def test_a_stream_that_is_refused(web: str, is_text: bool) -> None:
    batch = stream_of("one")[1].SerializeToString()
    answer = grpc_web(web, "EmbedStream", batch, is_text=is_text)
    assert answer.messages == [] and answer.trailers["grpc-status"] == "3"
    info = ErrorInfo()
    assert answer.details().details[0].Unpack(info)
    assert info.reason == "STREAM_NOT_OPEN"


def stream_of(*texts: str) -> list[pb.EmbedStreamRequest]:
    """The messages of a stream; ids count from 7."""
    inputs = [pb.EmbedInput(text=text) for text in texts]
    batch = pb.StreamBatch(first_id=7, inputs=inputs)
    return [pb.EmbedStreamRequest(open=pb.StreamOpen()), pb.EmbedStreamRequest(batch=batch)]


def test_a_deadline_holds(web: str, web_server: UnderTest) -> None:
    with web_server.controls.held():
        headers = {"grpc-timeout": "300m"}
        for _ in range(5):
            answer = grpc_web(web, "Embed", TEXT.SerializeToString(), headers=headers)
            assert answer.trailers["grpc-status"] == "4"


def test_a_message_of_the_largest_size_passes(web: str) -> None:
    text = "a" * 12_000_000
    request = pb.EmbedRequest(input=pb.EmbedInput(text=text))
    for is_text in (False, True):
        answer = grpc_web(web, "Embed", request.SerializeToString(), is_text=is_text)
        info = ErrorInfo()
        assert answer.details().details[0].Unpack(info)
        assert (info.reason, info.metadata["characters"]) == ("TEXT_TOO_LONG", str(len(text)))


def test_without_the_filter_there_is_no_grpc_web(tmp_path: Path, web_server: UnderTest) -> None:
    """What the tests above see is the filter's work."""
    config = envoy_process.WEB.read_text()
    start = config.index("                  - name: envoy.filters.http.grpc_web")
    end = config.index("                  - name: envoy.filters.http.router")
    config = replaced(config, config[start:end], "")
    with envoy_process.envoy(tmp_path, config, [web_server.address]) as address:
        with pytest.raises(AssertionError):
            grpc_web(address, "Embed", TEXT.SerializeToString())


def test_grpc_as_it_is(web: str, stub: EmbeddingServiceStub) -> None:
    with grpc.insecure_channel(web) as channel:
        through = EmbeddingServiceStub(channel)
        assert through.Embed(TEXT) == stub.Embed(TEXT)
        first, second = through.EmbedStream(iter(stream_of("one")))
        assert first.opened.max_inflight_inputs and second.results.results[0].id == 7
