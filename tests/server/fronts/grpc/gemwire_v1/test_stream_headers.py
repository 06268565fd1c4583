"""EmbedStream answers with its headers at once: some clients wait for them before they send a message."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from gemwire_server.config.options import ServerConfig
from gemwire_server.fronts.grpc.streams import Streams
from gemwire_server.processes.single import background_application
from gemwire_server.security.tokens import make
from support.harness import Served, failure, running, text
from support.token_files import Metadata, bearer, write

WAIT = 10.0
OPEN = pb.EmbedStreamRequest(open=pb.StreamOpen())
BATCH = pb.EmbedStreamRequest(batch=pb.StreamBatch(first_id=7, inputs=[text("a"), text("b")]))
NAMED: Metadata = (("x-request-id", "named"),)


@pytest.fixture(scope="module", params=["open to all", "tokens"])
def server(
    request: pytest.FixtureRequest,
    tiny_checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Served, Metadata]]:
    """A server, and what a call to it must bring."""
    if request.param == "open to all":
        with running(str(tiny_checkpoint)) as served:
            yield served, NAMED
        return
    token, line = make("somebody")
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    write(file, line)
    with running(str(tiny_checkpoint), tokens_file=str(file)) as served:
        yield served, (*bearer(token), *NAMED)


class SilentStream:
    """A stream whose client sends nothing until it is told `go`."""

    def __init__(self, stub: EmbeddingServiceStub, *requests: pb.EmbedStreamRequest, **call: Any):
        self.go = threading.Event()
        self._requests = requests
        self.call: Any = stub.EmbedStream(self._send(), **call)
        self.call.add_callback(self.go.set)

    def _send(self) -> Iterator[pb.EmbedStreamRequest]:
        self.go.wait()
        yield from self._requests

    def wait_for_headers(self) -> None:
        too_late = threading.Timer(WAIT, self.call.cancel)
        too_late.start()
        self.call.initial_metadata()  # also returns at the call's end
        assert self.call.is_active()
        too_late.cancel()


@pytest.mark.parametrize("timeout", [None, WAIT])
def test_headers_come_before_the_first_message(
    server: tuple[Served, Metadata], timeout: float | None
) -> None:
    served, metadata = server
    stream = SilentStream(served.embedding, OPEN, BATCH, metadata=metadata, timeout=timeout)
    stream.wait_for_headers()
    stream.go.set()
    opened, *rest = stream.call
    assert opened.HasField("opened")
    assert sorted(each.id for one in rest for each in one.results.results) == [7, 8]
    assert stream.call.code() is grpc.StatusCode.OK
    assert NAMED[0] in stream.call.trailing_metadata()


@pytest.mark.parametrize("timeout", [None, WAIT])
def test_headers_come_before_the_first_message_in_asyncio(
    server: tuple[Served, Metadata], timeout: float | None
) -> None:
    served, metadata = server

    async def call_it() -> None:
        async with grpc.aio.insecure_channel(served.address) as channel:
            stub: Any = EmbeddingServiceStub(channel)
            call = stub.EmbedStream(metadata=metadata, timeout=timeout)
            await asyncio.wait_for(call.initial_metadata(), WAIT / 2)
            assert not call.done()
            await call.write(OPEN)
            assert (await call.read()).HasField("opened")
            await call.write(BATCH)
            assert len((await call.read()).results.results) == 2
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK

    asyncio.run(call_it())


def refusal(stub: EmbeddingServiceStub, metadata: Metadata) -> tuple[grpc.StatusCode, str]:
    """How a stream ends on which the client sends nothing."""
    return refusal_of(SilentStream(stub, metadata=metadata, timeout=WAIT))


def refusal_of(stream: SilentStream) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        next(stream.call)
    assert NAMED[0] in stream.call.trailing_metadata()
    found = failure(caught.value)
    return found.code, found.reason


def test_a_stream_that_is_refused_ends_without_a_message(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    token, line = make("somebody")
    write(tmp_path / "tokens", line)
    limits: dict[str, Any] = {"tokens_file": str(tmp_path / "tokens"), "max_concurrent_calls": 1}
    with running(str(tiny_checkpoint), **limits) as served:
        stub = served.embedding
        unknown = grpc.StatusCode.UNAUTHENTICATED
        assert refusal(stub, NAMED) == (unknown, "MISSING_TOKEN")
        assert refusal(stub, (*bearer("wrong"), *NAMED)) == (unknown, "WRONG_TOKEN")
        mine = (*bearer(token), *NAMED)
        first = SilentStream(stub, metadata=mine)
        first.wait_for_headers()  # it holds the only place
        assert refusal(stub, mine) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
        first.go.set()
        assert list(first.call) == []


def test_a_stream_with_nothing_but_headers_ends_when_the_server_drains(
    tiny_checkpoint: Path,
) -> None:
    config = ServerConfig(model=str(tiny_checkpoint), address="127.0.0.1:0")
    with background_application(config) as app:
        channel = grpc.insecure_channel(app.address, [("grpc.use_local_subchannel_pool", 1)])
        stream = SilentStream(EmbeddingServiceStub(channel), metadata=NAMED)
        stream.wait_for_headers()
    with channel:
        assert refusal_of(stream) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


def test_a_deadline_ends_a_stream_with_nothing_but_headers(
    server: tuple[Served, Metadata],
) -> None:
    served, metadata = server
    stream = SilentStream(served.embedding, metadata=metadata, timeout=0.5)
    stream.wait_for_headers()
    with pytest.raises(grpc.RpcError):
        next(stream.call)
    assert stream.call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_streams_that_are_cancelled_at_once_are_no_bugs(
    server: tuple[Served, Metadata], caplog: pytest.LogCaptureFixture
) -> None:
    served, metadata = server
    with caplog.at_level(logging.WARNING):
        for _ in range(200):
            SilentStream(served.embedding, metadata=metadata).call.cancel()
        assert served.embedding.Embed(pb.EmbedRequest(input=text("a")), metadata=metadata)
    assert not [one for one in caplog.records if one.name.startswith("gemwire")]


def test_headers_for_a_client_that_has_gone_are_no_bug(
    server: tuple[Served, Metadata],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sending may fail a moment before grpc.aio cancels the call: seldom, so the error is raised here."""
    served, metadata = server
    serve = Streams.serve

    async def gone(headers: Any) -> None:
        raise grpc.aio.InternalError("Failed execute_batch")

    async def serve_without_client(self: Streams, stream: Any, _: Any) -> None:
        context: Any = SimpleNamespace(send_initial_metadata=gone)
        await serve(self, stream, context)

    monkeypatch.setattr(Streams, "serve", serve_without_client)
    with caplog.at_level(logging.WARNING):
        call: Any = served.embedding.EmbedStream(iter([OPEN]), metadata=metadata, timeout=0.5)
        with pytest.raises(grpc.RpcError):
            next(call)
    assert not [one for one in caplog.records if one.name.startswith(("gemwire", "grpc"))]
