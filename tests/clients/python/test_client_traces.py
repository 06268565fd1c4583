"""Traces end to end: a program with OpenTelemetry's contrib package, a server, and a collector of both."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.proto.trace.v1.trace_pb2 import Status as SpanStatus

from gemwire_client import AsyncClient, Client
from support.collector import Collector, collecting
from support.scripted import Scripted, foreign, scripted_server
from support.server_process import server_process
from uninstalled import ROOT, environment

WAIT = 60.0
PROGRAM = ROOT / "tests" / "support" / "traced_client.py"
WAYS = [
    "sync_global",
    "sync_interceptor",
    "asyncio_global",
    "asyncio_provider",
    "asyncio_interceptors",
]
# What the program calls: each method with how often it ended well, and badly.
CALLED = {
    "gemwire.v1.EmbeddingService/Embed": (1, 1),
    "gemwire.v1.EmbeddingService/BatchEmbed": (1, 0),
    "gemwire.v1.EmbeddingService/EmbedStream": (1, 0),
    "gemwire.v1.ModelService/GetModel": (1, 0),
}


@pytest.fixture(scope="module")
def traced(tiny_checkpoint: Path) -> Iterator[tuple[str, Collector, dict[str, str]]]:
    """A server's address, the collector that it sends to, and the variables that say where that is."""
    package = "opentelemetry-instrumentation-grpc"
    pytest.importorskip("opentelemetry.instrumentation.grpc", reason=f"{package} is not installed")
    with collecting() as collector:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.address}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        flags = ("--traces", "otlp")
        with server_process(tiny_checkpoint, *flags, engine="process", environ=environ) as server:
            yield server.address, collector, environ


@pytest.mark.parametrize("way", WAYS)
def test_the_servers_spans_are_below_the_clients(
    traced: tuple[str, Collector, dict[str, str]], way: str
) -> None:
    address, collector, environ = traced
    done = subprocess.run(
        [sys.executable, str(PROGRAM), way, address],
        env=environment(environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    trace_id, work_id = done.stdout.split()

    def spans(kind: "Span.SpanKind.ValueType") -> list[Span]:
        mine = [span for span in collector.spans if span.trace_id.hex() == trace_id]
        return [span for span in mine if span.kind == kind]

    calls = sum(map(sum, CALLED.values()))
    deadline = time.monotonic() + WAIT
    while len(spans(Span.SPAN_KIND_SERVER)) < calls and time.monotonic() < deadline:
        time.sleep(0.05)
    asked, served = spans(Span.SPAN_KIND_CLIENT), spans(Span.SPAN_KIND_SERVER)
    for found in (asked, served):
        counts = {}
        for method in CALLED:
            own = [span for span in found if span.name.lstrip("/") == method]
            bad = [span for span in own if _code(span) != grpc.StatusCode.OK.value[0]]
            counts[method] = (len(own) - len(bad), len(bad))
        assert counts == CALLED
    assert {span.parent_span_id.hex() for span in asked} == {work_id}
    by_id = {span.span_id: span for span in asked}
    assert len(by_id) == len(served) == calls
    for span in served:
        above = by_id.pop(span.parent_span_id)  # each has one of its own
        assert above.name.lstrip("/") == span.name and _code(above) == _code(span)
        assert above.start_time_unix_nano <= span.start_time_unix_nano
        failed = above.status.code == SpanStatus.STATUS_CODE_ERROR
        assert failed == (_code(span) != 0)
        below = {other.name for other in collector.below(span)}
        assert "compute" in below or "ModelService" in span.name or failed


def _code(span: Span) -> int:
    return next(
        entry.value.int_value for entry in span.attributes if entry.key == "rpc.grpc.status_code"
    )


class Noting(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Notes what passes."""

    def __init__(self, name: str, noted: list[str]) -> None:
        self._name = name
        self._noted = noted

    def _pass(self, continuation, details, request):  # type: ignore[no-untyped-def]
        self._noted.append(f"{self._name} {details.method.rpartition('/')[2]}")
        return continuation(details, request)

    intercept_unary_unary = intercept_stream_stream = _pass


class AioNoting(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, name: str, noted: list[str]) -> None:
        self._name = name
        self._noted = noted

    async def intercept_unary_unary(self, continuation, details, request):  # type: ignore[no-untyped-def]
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        self._noted.append(f"{self._name} {method.rpartition('/')[2]}")
        return await continuation(details, request)


class AioCounting(grpc.aio.StreamStreamClientInterceptor):
    """Counts streams. (gRPC takes an object of two kinds for one of the first kind.)"""

    def __init__(self) -> None:
        self.count = 0

    async def intercept_stream_stream(self, continuation, details, requests):  # type: ignore[no-untyped-def]
        self.count += 1
        return await continuation(details, requests)


@pytest.fixture
def server() -> Iterator[tuple[Scripted, str]]:
    with scripted_server() as running:
        yield running


def test_interceptors_see_every_call_the_first_one_first(server: tuple[Scripted, str]) -> None:
    noted: list[str] = []

    def wrap(channel: grpc.Channel) -> grpc.Channel:
        return grpc.intercept_channel(channel, Noting("wrapped", noted))

    interceptors = [Noting("first", noted), wrap, Noting("last", noted)]
    with Client(server[1], interceptors=interceptors) as client:
        client.embed("a")
        assert noted == ["first Embed", "wrapped Embed", "last Embed"]
        noted.clear()
        assert len(list(client.embed_iter(["a", "b"]))) == 2
        assert noted[-3:] == ["first EmbedStream", "wrapped EmbedStream", "last EmbedStream"]


async def _with_asyncio(address: str, noted: list[str]) -> None:
    interceptors = [AioNoting("first", noted), AioNoting("last", noted)]
    async with AsyncClient(address, interceptors=interceptors) as client:
        await client.embed("a")
        assert len([vector async for vector in client.embed_iter(["a", "b"])]) == 2


def test_interceptors_of_asyncio(server: tuple[Scripted, str]) -> None:
    noted: list[str] = []
    asyncio.run(_with_asyncio(server[1], noted))
    assert noted[:2] == ["first Embed", "last Embed"]


def test_interceptors_see_every_try(server: tuple[Scripted, str]) -> None:
    lost = [foreign(grpc.StatusCode.UNAVAILABLE)] * 2
    noted: list[str] = []
    with Client(server[1], interceptors=[Noting("sync", noted)]) as client:
        server[0].failures.extend(lost)
        client.embed("a")
        server[0].failures.extend(lost)
        assert len(list(client.embed_iter(["a", "b"]))) == 2
    assert noted == ["sync Embed"] * 3 + ["sync GetModel"] + ["sync EmbedStream"] * 3


def test_streams_with_interceptors_of_asyncio_leave_no_task_behind(
    server: tuple[Scripted, str],
) -> None:
    interceptor = AioCounting()

    async def main() -> set[asyncio.Task[object]]:
        async with AsyncClient(server[1], interceptors=[interceptor]) as client:
            server[0].failures.extend([foreign(grpc.StatusCode.UNAVAILABLE)] * 2)
            assert len([vector async for vector in client.embed_iter(["a", "b"])]) == 2
            async with aclosing(client.embed_iter(["a"] * 100)) as answers:
                await anext(answers)
        await asyncio.sleep(0.1)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert not asyncio.run(main())
    assert interceptor.count == 4
