#!/bin/sh
# GrpcInstrumentorClient().instrument(tracer_provider=P) does not use P (opentelemetry-instrumentation-grpc).
#
# Its wrapper of grpc.insecure_channel reads `tracer_provider` from the arguments of grpc.insecure_channel, not from
# those of instrument(), so that spans go to the global provider, and nowhere if there is none. The same call of
# GrpcAioInstrumentorClient uses P. Seen with opentelemetry-instrumentation-grpc 0.66b2 and grpcio 1.85.1:
#
#     GrpcInstrumentorClient      given provider: 0 spans, global provider: 1
#     GrpcAioInstrumentorClient   given provider: 1 spans, global provider: 0
#
# Exit code 0: as described. Needs python3 with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    grpcio==1.85.1 grpcio-health-checking==1.85.1 \
    opentelemetry-sdk==1.45.2 opentelemetry-instrumentation-grpc==0.66b2
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorClient, GrpcInstrumentorClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def provider_and_spans():
    provider, spans = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider, spans


server = grpc.server(ThreadPoolExecutor(2))
health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
server.start()
everybodys, global_spans = provider_and_spans()
trace.set_tracer_provider(everybodys)
given, given_spans = provider_and_spans()
request = health_pb2.HealthCheckRequest()


def call():
    with grpc.insecure_channel(address) as channel:
        health_pb2_grpc.HealthStub(channel).Check(request)


async def call_with_asyncio():
    async with grpc.aio.insecure_channel(address) as channel:
        await health_pb2_grpc.HealthStub(channel).Check(request)


found = []
for instrumentor, use in (
    (GrpcInstrumentorClient(), call),
    (GrpcAioInstrumentorClient(), lambda: asyncio.run(call_with_asyncio())),
):
    instrumentor.instrument(tracer_provider=given)
    use()
    instrumentor.uninstrument()
    counts = len(given_spans.get_finished_spans()), len(global_spans.get_finished_spans())
    found.append(counts)
    name = type(instrumentor).__name__
    print(f"{name:27s} given provider: {counts[0]} spans, global provider: {counts[1]}")
    given_spans.clear()
    global_spans.clear()
server.stop(None).wait()
raise SystemExit(found != [(0, 1), (1, 0)])
PYTHON
