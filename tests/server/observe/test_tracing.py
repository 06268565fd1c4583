"""Traces: spans as a collector gets them, below the caller's, with nothing of a text."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.proto.trace.v1.trace_pb2 import Status as SpanStatus

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.observe import tracing
from support.collector import Collector, collecting
from support.harness import running, text
from support.held_device import WAIT, HeldDevice
from support.http_front import post, serve_small_api

SECRET = "averyprivatetext"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as service:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{service.address}")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        yield service


def _attributes(span: Span) -> dict[str, str | int]:
    return {
        entry.key: entry.value.string_value or entry.value.int_value for entry in span.attributes
    }


def test_a_call_is_a_span_below_its_callers(tiny_checkpoint: Path, collector: Collector) -> None:
    with running(str(tiny_checkpoint), traces="otlp") as served:
        served.embedding.Embed(
            pb.EmbedRequest(input=text(SECRET)),
            metadata=(("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-request-id", "mine")),
        )
        with pytest.raises(grpc.RpcError):
            served.embedding.Embed(pb.EmbedRequest(input=text("")))
    ok, failed = sorted(collector.calls(), key=lambda span: span.start_time_unix_nano)
    assert ok.name == "gemwire.v1.EmbeddingService/Embed"
    assert (ok.trace_id.hex(), ok.parent_span_id.hex()) == (TRACE, PARENT)
    told = _attributes(ok)
    assert told.pop("gemwire.tokens")
    assert told == {
        "rpc.system": "grpc",
        "rpc.service": "gemwire.v1.EmbeddingService",
        "rpc.method": "Embed",
        "rpc.grpc.status_code": 0,
        "gemwire.request_id": "mine",
        "gemwire.texts": 1,
    }
    parts = {span.name: span for span in collector.below(ok)}
    assert parts.keys() == {"tokenize", "queue", "compute"}
    assert _attributes(parts["compute"])["gemwire.batch_texts"] == 1
    tokenize, queue, compute = (parts[name] for name in ("tokenize", "queue", "compute"))
    assert ok.start_time_unix_nano <= tokenize.start_time_unix_nano
    assert tokenize.end_time_unix_nano <= queue.start_time_unix_nano
    assert queue.end_time_unix_nano == compute.start_time_unix_nano
    assert compute.end_time_unix_nano <= ok.end_time_unix_nano
    assert abs(ok.end_time_unix_nano - time.time_ns()) < 60e9

    assert failed.trace_id != ok.trace_id
    assert _attributes(failed)["gemwire.reason"] == "EMPTY_TEXT"
    assert _attributes(failed)["rpc.grpc.status_code"] == 3
    assert failed.status.code != SpanStatus.STATUS_CODE_ERROR  # the caller's fault
    assert SECRET.encode() not in collector.raw
    assert ("service.name", "gemwire") in collector.resources
    assert ("deployment.environment", "test") in collector.resources


def test_a_call_that_waits_shows_how_long(
    tiny_checkpoint: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), traces="otlp") as served:
        device.hold()
        first = served.embedding.Embed.future(pb.EmbedRequest(input=text("first")))
        device.wait_until_running()
        second = served.embedding.Embed.future(pb.EmbedRequest(input=text("second")))
        late = served.embedding.Embed.future(pb.EmbedRequest(input=text("late")), timeout=0.2)
        with pytest.raises(grpc.RpcError):
            late.result(timeout=WAIT)
        threading.Event().wait(0.2)
        device.release()
        for call in (first, second):
            call.result(timeout=WAIT)
    waits = [
        span.end_time_unix_nano - span.start_time_unix_nano
        for span in collector.spans
        if span.name == "queue"
    ]
    assert max(waits) >= 0.2e9
    (expired,) = [
        span for span in collector.calls() if _attributes(span).get("rpc.grpc.status_code")
    ]
    assert _attributes(expired)["rpc.grpc.status_code"] == 4
    assert expired.status.code == SpanStatus.STATUS_CODE_ERROR
    assert [span.name for span in collector.below(expired)] == ["tokenize"]


def test_the_spans_of_a_stream_are_bounded(
    tiny_checkpoint: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "MAX_CHILDREN", 5)
    with running(str(tiny_checkpoint), traces="otlp") as served:
        opened = pb.EmbedStreamRequest(open=pb.StreamOpen())
        batch = pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[text("x"), text("y")]))
        list(served.embedding.EmbedStream(iter([opened, *[batch] * 10])))
    (stream,) = collector.calls()
    assert len(collector.below(stream)) == 5
    assert _attributes(stream)["gemwire.spans_left_out"] == 3 * 10 - 5
    assert _attributes(stream)["gemwire.texts"] == 20


def test_a_collector_that_does_not_answer_does_not_hold_up_the_end(
    tiny_checkpoint: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    collector.may_answer.clear()
    with running(str(tiny_checkpoint), traces="otlp") as served:
        served.embedding.Embed(pb.EmbedRequest(input=text("a")))
        ending = time.monotonic()
    assert time.monotonic() - ending < 20  # OpenTelemetry's own patience is 30 s
    collector.may_answer.set()


WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
from gemwire_server.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("engine", ["thread", "process"])
def test_without_its_packages_one_line_says_what_to_install(
    tiny_checkpoint: Path, engine: str
) -> None:
    command = [sys.executable, "-c", WITHOUT, "serve", "--model", str(tiny_checkpoint)]
    ended = subprocess.run(
        [*command, "--traces", "otlp", "--engine", engine, "--address", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines() == [
        "gemwire: this needs opentelemetry, which is not installed: pip install 'gemwire[traces]'"
    ]


def test_a_server_without_traces_never_imports_them() -> None:
    program = (
        "import sys, gemwire_server.processes.single; "
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=WAIT)


def test_a_call_over_http_is_a_span_below_its_callers(
    tiny_checkpoint: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_small_api(monkeypatch)
    with running(str(tiny_checkpoint), traces="otlp", http_address="127.0.0.1:0") as served:
        parent = f"00-{TRACE}-{PARENT}-01"
        body = f'["{SECRET}"]'.encode()
        reply = post(served.http_address, "/embed", body, traceparent=parent, x_request_id="mine")
        assert reply.status == 200
        assert post(served.http_address, "/embed", b"[" + SECRET.encode()).status == 400
    ok, failed = sorted(collector.calls(), key=lambda span: span.start_time_unix_nano)
    assert (ok.name, failed.name) == ("test.v1/Embed",) * 2
    assert (ok.trace_id.hex(), ok.parent_span_id.hex()) == (TRACE, PARENT)
    told = _attributes(ok)
    assert (told["rpc.system"], told["rpc.service"], told["rpc.method"]) == (
        "http",
        "test.v1",
        "Embed",
    )
    assert (told["gemwire.request_id"], told["gemwire.texts"]) == ("mine", 1)
    assert {span.name for span in collector.below(ok)} == {"tokenize", "queue", "compute"}
    assert _attributes(failed)["gemwire.reason"] == "MALFORMED_MESSAGE"
    assert SECRET.encode() not in collector.raw
