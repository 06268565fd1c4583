"""Idle connections, and connections that reach their age."""

import asyncio

import grpc

from faults.load import LOCAL, Outcomes, closed_loop, embed
from faults.marked import marked
from faults.under_test import UnderTest
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from gemwire_client.service_config import channel_options

AGING_FLAGS = ("--max-connection-age", "2")


async def idle_pings(server: UnderTest, *, seconds: float, every: float) -> int:
    """How often the server closed a connection that only sends pings."""
    options = [
        *LOCAL,
        ("grpc.keepalive_time_ms", int(every * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    async with grpc.aio.insecure_channel(server.address, options=options) as channel:
        await channel.channel_ready()
        lost = 0

        async def watch() -> None:
            nonlocal lost
            state = channel.get_state()
            while True:
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
                lost += state is not grpc.ChannelConnectivity.READY

        watching = asyncio.create_task(watch())
        await asyncio.sleep(seconds)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await embed(EmbeddingServiceStub(channel), marked)(0)
    return lost


async def aging(server: UnderTest, *, seconds: float, callers: int = 8) -> Outcomes:
    """Calls under the published service config while the server ends connections."""
    options = [*channel_options(server.address), *LOCAL]
    async with grpc.aio.insecure_channel(server.address, options=options) as channel:
        call = embed(EmbeddingServiceStub(channel), lambda n: marked(n % 500_000), 20.0)
        return await closed_loop(call, callers, seconds=seconds)
