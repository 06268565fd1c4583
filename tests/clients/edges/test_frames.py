"""Calls in every division into frames that HTTP/2 allows: the answer is always the same."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from support.raw_http2 import RawClient, Response
from support.server_process import server_process
from support.web_calls import framed

REQUEST = pb.EmbedRequest(input=pb.EmbedInput(text="Which planet is red?"))
FRAMED = framed(REQUEST.SerializeToString())
EMPTY = framed(pb.EmbedRequest(input=pb.EmbedInput(text="")).SerializeToString())
OPENING = framed(pb.EmbedStreamRequest(open=pb.StreamOpen(ordered=True)).SerializeToString())
OK, INVALID_ARGUMENT = "0", "3"


@pytest.fixture(scope="module")
def address(tiny_checkpoint: Path) -> Iterator[str]:
    with server_process(tiny_checkpoint) as server:
        yield server.address


@pytest.fixture(scope="module")
def stub(address: str) -> Iterator[EmbeddingServiceStub]:
    with grpc.insecure_channel(address) as channel:
        yield EmbeddingServiceStub(channel)


@pytest.fixture(scope="module")
def wanted(stub: EmbeddingServiceStub) -> pb.EmbedResponse:
    """The answer to REQUEST by gRPC's own client."""
    return stub.Embed(REQUEST)


@pytest.fixture
def client(address: str) -> Iterator[RawClient]:
    with RawClient(address) as made:
        yield made


def batch(first: int, *texts: str) -> bytes:
    inputs = [pb.EmbedInput(text=text) for text in texts]
    made = pb.EmbedStreamRequest(batch=pb.StreamBatch(first_id=first, inputs=inputs))
    return framed(made.SerializeToString())


def cut(content: bytes, *places: int) -> list[bytes]:
    """The content in parts that end at these places."""
    return [content[a:b] for a, b in pairwise([0, *places, len(content)])]


def check(response: Response, wanted: pb.EmbedResponse) -> None:
    assert (response.headers[":status"], response.end()["grpc-status"]) == ("200", OK), response
    (message,) = response.messages()
    assert pb.EmbedResponse.FromString(message) == wanted
    assert response.reset is None


def check_error(response: Response, code: str, reason: str) -> None:
    """Asserts an error that is trailers-only: one block of headers, and nothing else."""
    assert response.trailers is None and response.body == b""
    assert (response.headers[":status"], response.headers["grpc-status"]) == ("200", code)
    assert response.headers["content-type"].startswith("application/grpc")
    info = ErrorInfo()
    assert response.details().code == int(code) and response.details().details[0].Unpack(info)
    assert (info.reason, info.domain) == (reason, "gemwire.dev")


@pytest.mark.parametrize("each", [False, True], ids=["one write", "a write each"])
def test_a_byte_in_each_frame(client: RawClient, wanted: pb.EmbedResponse, each: bool) -> None:
    call = client.open("Embed")
    client.data(call, *cut(FRAMED, *range(1, len(FRAMED))), end=True, each=each)
    check(client.answer(call), wanted)


@pytest.mark.parametrize("place", range(1, 7))
def test_the_prefix_is_divided(client: RawClient, wanted: pb.EmbedResponse, place: int) -> None:
    call = client.open("Embed")
    client.data(call, *cut(FRAMED, place), end=True, each=True)
    check(client.answer(call), wanted)


@pytest.mark.parametrize("fragment", [1, 7, 40])
def test_headers_in_continuation_frames(
    client: RawClient, wanted: pb.EmbedResponse, fragment: int
) -> None:
    calls = [client.open("Embed", fragment=fragment) for _ in range(2)]
    for call in calls:
        client.data(call, FRAMED, end=True)
    for response in client.finish(*calls):
        check(response, wanted)


def test_an_empty_frame_ends_the_request(client: RawClient, wanted: pb.EmbedResponse) -> None:
    call = client.open("Embed")
    client.data(call, FRAMED, b"", b"", end=True, each=True)
    check(client.answer(call), wanted)


def test_empty_frames_within_a_message(client: RawClient, wanted: pb.EmbedResponse) -> None:
    call = client.open("Embed")
    client.data(call, b"", b"")
    client.data(call, FRAMED[:3], b"", FRAMED[3:], b"", end=True)
    check(client.answer(call), wanted)


def test_headers_with_a_priority(client: RawClient, wanted: pb.EmbedResponse) -> None:
    """HTTP/2's first edition had priorities, and its clients still send them."""
    call = client.open("Embed", priority_weight=16)
    client.data(call, FRAMED, end=True)
    check(client.answer(call), wanted)


@pytest.mark.parametrize("padding", [0, 1, 255])
def test_padded_data_harms_no_other_call(
    client: RawClient, wanted: pb.EmbedResponse, padding: int
) -> None:
    """gRPC's core refuses padding, which HTTP/2 allows (grpc/grpc#9779). It says so only when it writes
    something else to the connection."""
    padded = client.open("Embed")
    client.data(padded, FRAMED, end=True, padding=padding)
    call = client.open("Embed")
    client.data(call, FRAMED, end=True)
    response, refused = client.finish(call, padded)
    check(response, wanted)
    assert refused.reset == ErrorCodes.PROTOCOL_ERROR and not refused.headers


def test_calls_whose_frames_take_turns(client: RawClient, wanted: pb.EmbedResponse) -> None:
    calls = [client.open("Embed") for _ in range(10)]
    for place in range(len(FRAMED)):
        for call in calls:
            client.data(call, FRAMED[place : place + 1], end=place + 1 == len(FRAMED))
    for response in client.finish(*calls):
        check(response, wanted)


def test_frames_and_settings_that_no_one_knows(client: RawClient, wanted: pb.EmbedResponse) -> None:
    """HTTP/2 lets anyone send new ones; whoever does not know them must ignore them."""
    call = client.open("Embed")
    unknown = b"\x00\x00\x04\xfa\x00" + call.to_bytes(4) + b"abcd"
    setting = b"\x00\x00\x06\x04\x00" + bytes(4) + b"\xfa\xfa\x00\x00\x00\x01"
    client.data(call, FRAMED[:4])
    client.raw(unknown + unknown)
    client.h2.ping(b"12345678")
    client.data(call, FRAMED[4:], end=True)
    check(client.answer(call), wanted)
    client.raw(setting)
    call = client.open("Embed")
    client.data(call, FRAMED, end=True)
    check(client.answer(call), wanted)


def test_a_small_window(address: str, wanted: pb.EmbedResponse) -> None:
    """The server sends no more than the window has room for, however small."""
    with RawClient(address, {SettingCodes.INITIAL_WINDOW_SIZE: 7}) as client:
        calls = [client.open("Embed") for _ in range(3)]
        for call in calls:
            client.data(call, FRAMED, end=True)
        for response in client.finish(*calls):
            check(response, wanted)


@pytest.mark.parametrize("places", [(), (2,), (len(OPENING) - 1,), (len(OPENING) + 3,)])
def test_messages_of_a_stream_share_a_frame(
    client: RawClient, stub: EmbeddingServiceStub, places: tuple[int, ...]
) -> None:
    call = client.open("EmbedStream")
    content = OPENING + batch(7, "one", "") + batch(9, "two")
    client.data(call, *cut(content, *places), end=True, each=True)
    response = client.answer(call)
    assert response.end()["grpc-status"] == OK
    first, *rest = map(pb.EmbedStreamResponse.FromString, response.messages())
    assert first.opened.max_inflight_inputs
    results = [result for message in rest for result in message.results.results]
    assert [result.id for result in results] == [7, 8, 9]
    for result, text in ((results[0], "one"), (results[2], "two")):
        request = pb.EmbedRequest(input=pb.EmbedInput(text=text))
        assert result.embedding == stub.Embed(request).embedding
    assert results[1].error.message == "the text is empty"


def test_a_stream_is_answered_before_its_end(client: RawClient) -> None:
    """Headers come before `open`, results before the half-close."""
    call = client.open("EmbedStream")
    response = client.response(call)
    while not response.headers:
        client.read()
    client.data(call, *cut(OPENING, 5))
    while not response.body:
        client.read()
    client.data(call, batch(1, "one"))
    while len(response.messages()) < 2:
        client.read()
    client.data(call, b"", end=True)
    client.answer(call)
    assert response.end()["grpc-status"] == OK


@pytest.mark.parametrize("fragment", [None, 1])
def test_an_error_is_trailers_only(client: RawClient, fragment: int | None) -> None:
    call = client.open("Embed", fragment=fragment)
    client.data(call, *cut(EMPTY, 1, 5), end=True, each=True)
    response = client.answer(call)
    check_error(response, INVALID_ARGUMENT, "EMPTY_TEXT")
    assert response.headers["grpc-message"] == "the text is empty"
    assert response.headers["x-request-id"]


def test_a_stream_that_is_refused_has_headers_of_its_own(client: RawClient) -> None:
    """For EmbedStream sends its headers first."""
    call = client.open("EmbedStream")
    client.data(call, batch(1, "one"), end=True)
    response = client.answer(call)
    assert response.trailers is not None
    assert response.trailers["grpc-status"] == INVALID_ARGUMENT
    info = ErrorInfo()
    assert response.details().details[0].Unpack(info) and info.reason == "STREAM_NOT_OPEN"


def test_a_message_that_only_says_it_is_compressed_fails_alone(
    client: RawClient, wanted: pb.EmbedResponse
) -> None:
    call = client.open("Embed")
    client.data(call, b"\x01" + FRAMED[1:], end=True)
    response = client.answer(call)
    assert response.reset is not None or response.end()["grpc-status"] != OK
    call = client.open("Embed")
    client.data(call, FRAMED, end=True)
    check(client.answer(call), wanted)


@pytest.mark.parametrize(
    "content",
    [b"", FRAMED[:3], FRAMED[:-1]],
    ids=["none", "within the prefix", "within the message"],
)
def test_a_call_that_ends_without_a_request(client: RawClient, content: bytes) -> None:
    call = client.open("Embed")
    client.data(call, content, end=True)
    check_error(client.answer(call), INVALID_ARGUMENT, "MALFORMED_MESSAGE")
