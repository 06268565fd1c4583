"""The health service: whether each service serves, and, as "liveness", whether to restart the server.

A balancer asks for "" or a service: NOT_SERVING while the server loads, drains, or has no engine. A
supervisor such as kubelet asks for "liveness": it is SERVING through all of that, and NOT_SERVING once
the server has been without an engine for longer than it should take to get one.
"""

import asyncio
from collections.abc import Collection, Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import OVERALL_HEALTH
from grpc_health.v1.health import aio as health_aio

LIVENESS = "liveness"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Gives the same answer at every address that it is added to. It belongs to one event loop."""

    def __init__(
        self, services: Sequence[str], liveness_seconds: float, *, unserved: Collection[str] = ()
    ) -> None:
        """`services` are the full names of what is registered; those that are `unserved` too are
        NOT_SERVING for good. After so many seconds without serving, liveness is NOT_SERVING until the
        server serves again."""
        self._readiness = (OVERALL_HEALTH, *(name for name in services if name not in unserved))
        self._unserved = unserved
        self._patience = liveness_seconds
        self._servicer = health_aio.HealthServicer()
        self._draining = False
        self._given_up: asyncio.Task[None] | None = None

    def add_to(self, server: grpc.aio.Server) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def start(self) -> None:
        """NOT_SERVING, and alive: no health check judges how long loading takes."""
        await self._set_readiness(NOT_SERVING)
        for name in self._unserved:
            await self._servicer.set(name, NOT_SERVING)
        await self._servicer.set(LIVENESS, SERVING)

    async def set_serving(self, serving: bool) -> None:
        """Whether calls can be answered; without effect once `drain` was called."""
        if self._draining:
            return
        await self._set_readiness(SERVING if serving else NOT_SERVING)
        if serving:
            self._stop_waiting()
            await self._servicer.set(LIVENESS, SERVING)
        elif self._given_up is None:  # repeated failures do not start the wait anew
            self._given_up = asyncio.create_task(self._give_up())

    async def drain(self) -> None:
        """NOT_SERVING for good, and alive until the end, so that no supervisor cuts a drain short."""
        self._draining = True
        self._stop_waiting()
        await self._set_readiness(NOT_SERVING)
        await self._servicer.set(LIVENESS, SERVING)

    def close(self) -> None:
        self._stop_waiting()

    async def _set_readiness(self, status: int) -> None:
        for name in self._readiness:
            await self._servicer.set(name, status)

    async def _give_up(self) -> None:
        await asyncio.sleep(self._patience)
        await self._servicer.set(LIVENESS, NOT_SERVING)

    def _stop_waiting(self) -> None:
        if self._given_up is not None:
            self._given_up.cancel()
            self._given_up = None
