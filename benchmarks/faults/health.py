"""The states that the health service reports to a watcher, with their times."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from faults.load import LOCAL

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
ENDED = -1


class Watched:
    """The reported states, each with its time; `ENDED` stands for the end of a watch."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, int]] = []
        self._changed = asyncio.Event()

    def report(self, status: int) -> None:
        self.reports.append((time.monotonic(), status))
        self._changed.set()

    async def wait_for(self, status: int, *, after: float = 0.0, seconds: float = 30.0) -> float:
        """The time of the first report of a status after `after`."""
        async with asyncio.timeout(seconds):
            while True:
                for at, reported in self.reports:
                    if reported == status and at >= after:
                        return at
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def watched(address: str, service: str = "") -> AsyncIterator[Watched]:
    """Watches on a connection of its own, and connects again when that ends."""
    found = Watched()

    async def watch() -> None:
        while True:
            async with grpc.aio.insecure_channel(address, options=LOCAL) as channel:
                health: Any = health_pb2_grpc.HealthStub(channel)
                try:
                    async for answer in health.Watch(
                        health_pb2.HealthCheckRequest(service=service)
                    ):
                        found.report(answer.status)
                except grpc.aio.AioRpcError:
                    pass
            found.report(ENDED)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    try:
        await found.wait_for(SERVING)
        yield found
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
