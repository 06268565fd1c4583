"""OpenTelemetry traces: a span for a call, below it spans for tokenizing, waiting and computing.

Imported only where traces are asked for. The exporter is configured by the standard OTEL_ variables. No
text and nothing of a request is in a span, but its id.
"""

import threading
import time
from collections.abc import Iterable, Sequence

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import (
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gemwire_server import __version__
from gemwire_server.engine.interface import StepTiming

MAX_CHILDREN = 64  # of a call: a stream may have any number of messages
FLUSH_SECONDS = 3.0
# google.rpc.Code by number, as spans carry it.
CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
# The codes that are the server's fault (OpenTelemetry's conventions for gRPC).
FAULTS = ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")


class Tracing:
    """Makes spans and sends them by OTLP until `close`."""

    def __init__(self) -> None:
        told = OTELResourceDetector().detect().attributes
        resource = Resource.create({SERVICE_NAME: "gemwire", SERVICE_VERSION: __version__, **told})
        self._exporter = OTLPSpanExporter()
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("gemwire", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def close(self) -> None:
        """Sends what is left, for at most `FLUSH_SECONDS`: a collector may be away."""
        give_up = threading.Timer(FLUSH_SECONDS, self._exporter.shutdown)
        give_up.start()
        self._provider.shutdown()
        give_up.cancel()

    def start(
        self,
        method: str,
        request_id: str,
        metadata: Iterable[tuple[str, str | bytes]],
        *,
        system: str = "grpc",
    ) -> "CallTrace":
        """The span of a call to a method's full name, below the caller's in its metadata."""
        carrier = {key: value for key, value in metadata if isinstance(value, str)}
        service, _, name = method.rpartition(".")
        span = self._tracer.start_span(
            f"{service}/{name}",
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={
                "rpc.system": system,
                "rpc.service": service,
                "rpc.method": name,
                "gemwire.request_id": request_id,
            },
        )
        return CallTrace(self._tracer, span)


class CallTrace:
    """The span of one call and those below it. Times are of `time.monotonic`."""

    def __init__(self, tracer: trace.Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = trace.set_span_in_context(span)
        self._epoch = time.time_ns() - time.monotonic_ns()
        self._children = 0

    def tokenized(self, began: float, texts: int, tokens: int) -> None:
        """Texts were tokenized from then until now."""
        attributes = {"gemwire.texts": texts, "gemwire.tokens": tokens}
        self._child("tokenize", began, time.monotonic(), attributes)

    def computed(self, submitted: float, steps: Sequence[StepTiming]) -> None:
        """Texts that were submitted then were computed in these steps."""
        for step in steps:
            begun = submitted + step.queue_seconds
            self._child("queue", submitted, begun, {})
            attributes = {
                "gemwire.batch_texts": step.batch_texts,
                "gemwire.batch_tokens": step.batch_tokens,
            }
            self._child("compute", begun, begun + step.compute_seconds, attributes)

    def _child(self, name: str, began: float, ended: float, attributes: dict[str, int]) -> None:
        if not self._span.is_recording():
            return
        self._children += 1
        if self._children > MAX_CHILDREN:
            return
        span = self._tracer.start_span(
            name, self._context, attributes=attributes, start_time=self._nanoseconds(began)
        )
        span.end(self._nanoseconds(ended))

    def _nanoseconds(self, at: float) -> int:
        return self._epoch + round(at * 1e9)

    def end(self, code: str, reason: str, texts: int, tokens: int) -> None:
        """`code` is the name of a google.rpc.Code; `reason` is the error's, if the call has one."""
        span = self._span
        span.set_attribute("rpc.grpc.status_code", CODES.index(code))
        span.set_attribute("gemwire.texts", texts)
        span.set_attribute("gemwire.tokens", tokens)
        if reason:
            span.set_attribute("gemwire.reason", reason)
        if (left_out := self._children - MAX_CHILDREN) > 0:
            span.set_attribute("gemwire.spans_left_out", left_out)
        if code in FAULTS:
            span.set_status(Status(StatusCode.ERROR, reason or code))
        span.end()
