"""An OpenTelemetry collector: it takes spans by OTLP and keeps them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as collector_pb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT = 60.0


class Collector(TraceServiceServicer):
    """Keeps the spans that servers export until the collector ends."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.raw = b""
        self.resources: set[tuple[str, str]] = set()
        self.address = ""
        self.may_answer = threading.Event()
        self.may_answer.set()

    def Export(
        self, request: collector_pb.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> collector_pb.ExportTraceServiceResponse:
        self.may_answer.wait(WAIT)
        self.raw += request.SerializeToString()
        for resource in request.resource_spans:
            self.resources |= {
                (entry.key, entry.value.string_value) for entry in resource.resource.attributes
            }
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return collector_pb.ExportTraceServiceResponse()

    def calls(self) -> list[Span]:
        return [span for span in self.spans if span.kind == Span.SPAN_KIND_SERVER]

    def below(self, span: Span) -> list[Span]:
        return [other for other in self.spans if other.parent_span_id == span.span_id]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on an address of its own."""
    service = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield service
    finally:
        server.stop(None).wait()
