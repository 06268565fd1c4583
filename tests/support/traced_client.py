"""A program that calls a server with OpenTelemetry's contrib package: `traced_client.py WAY ADDRESS`.

Its own spans go where the OTEL_EXPORTER_OTLP_ variables say. Prints the id of its trace and of its span.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.grpc import (
    GrpcAioInstrumentorClient,
    GrpcInstrumentorClient,
    aio_client_interceptors,
    client_interceptor,
)
from opentelemetry.instrumentation.grpc.grpcext import intercept_channel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from gemwire_client import AsyncClient, Client, InvalidInput

TEXTS = [f"text {number}" for number in range(300)]


def use_sync(address: str, **options: Any) -> None:
    with Client(address, **options) as client:
        client.embed("one")
        client.embed(["one", "two"])
        assert len(list(client.embed_iter(TEXTS))) == 300
        with contextlib.suppress(InvalidInput):
            client.embed("")


def use_asyncio(address: str, **options: Any) -> None:
    async def use() -> None:
        async with AsyncClient(address, **options) as client:
            await client.embed("one")
            await client.embed(["one", "two"])
            assert len([vector async for vector in client.embed_iter(TEXTS)]) == 300
            with contextlib.suppress(InvalidInput):
                await client.embed("")

    asyncio.run(use())


def sync_global(provider: TracerProvider, address: str) -> None:
    trace.set_tracer_provider(provider)
    GrpcInstrumentorClient().instrument()
    use_sync(address)


def sync_interceptor(provider: TracerProvider, address: str) -> None:
    traced = client_interceptor(tracer_provider=provider)
    use_sync(address, interceptors=[lambda channel: intercept_channel(channel, traced)])


def asyncio_global(provider: TracerProvider, address: str) -> None:
    trace.set_tracer_provider(provider)
    GrpcAioInstrumentorClient().instrument()
    use_asyncio(address)


def asyncio_provider(provider: TracerProvider, address: str) -> None:
    GrpcAioInstrumentorClient().instrument(tracer_provider=provider)
    use_asyncio(address)


def asyncio_interceptors(provider: TracerProvider, address: str) -> None:
    use_asyncio(address, interceptors=aio_client_interceptors(tracer_provider=provider))


WAYS: dict[str, Callable[[TracerProvider, str], None]] = {
    way.__name__: way
    for way in (
        sync_global,
        sync_interceptor,
        asyncio_global,
        asyncio_provider,
        asyncio_interceptors,
    )
}

if __name__ == "__main__":
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    with provider.get_tracer("a program").start_as_current_span("work") as span:
        WAYS[sys.argv[1]](provider, sys.argv[2])
        found = span.get_span_context()
        print(f"{found.trace_id:032x} {found.span_id:016x}")
    provider.shutdown()
