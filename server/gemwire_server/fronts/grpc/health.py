"""What the health service says: of the API's services whether they serve, of "liveness" whether to wait.

A balancer asks for "" or a service: NOT_SERVING while the server loads, drains, or has no engine. Who could
restart the server asks for "liveness": it is SERVING through all of that, and NOT_SERVING once the server
has been without an engine for longer than it should take to get one.
"""

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import OVERALL_HEALTH
from grpc_health.v1.health import aio as health_aio

from gemwire.v1 import embedding_pb2 as pb

SERVICES = tuple(service.full_name for service in pb.DESCRIPTOR.services_by_name.values())
READINESS = (OVERALL_HEALTH, *SERVICES)
LIVENESS = "liveness"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """For one event loop; one answer at every address that it is added to."""

    def __init__(self, liveness_seconds: float) -> None:
        """After so many seconds without serving, liveness is NOT_SERVING until it serves again."""
        self._patience = liveness_seconds
        self._servicer = health_aio.HealthServicer()
        self._draining = False
        self._given_up: asyncio.Task[None] | None = None

    def add_to(self, server: grpc.aio.Server) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def start(self) -> None:
        """Not serving yet, and alive: how long loading takes is not for this to judge."""
        await self._say(NOT_SERVING)
        await self._servicer.set(LIVENESS, SERVING)

    async def set_serving(self, serving: bool) -> None:
        """Whether calls can be answered; without effect once `drain` was called."""
        if self._draining:
            return
        await self._say(SERVING if serving else NOT_SERVING)
        if serving:
            self._stop_waiting()
            await self._servicer.set(LIVENESS, SERVING)
        elif self._given_up is None:  # what fails again and again does not begin to wait anew
            self._given_up = asyncio.create_task(self._give_up())

    async def drain(self) -> None:
        """NOT_SERVING for good, and alive until the end: a drain is not to be cut short."""
        self._draining = True
        self._stop_waiting()
        await self._say(NOT_SERVING)
        await self._servicer.set(LIVENESS, SERVING)

    def close(self) -> None:
        self._stop_waiting()

    async def _say(self, status: int) -> None:
        for name in READINESS:
            await self._servicer.set(name, status)

    async def _give_up(self) -> None:
        await asyncio.sleep(self._patience)
        await self._servicer.set(LIVENESS, NOT_SERVING)

    def _stop_waiting(self) -> None:
        if self._given_up is not None:
            self._given_up.cancel()
            self._given_up = None
