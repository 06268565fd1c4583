"""The admin address: health and reflection apart from the calls, for those who run the server."""

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import OVERALL_HEALTH
from grpc_health.v1.health import aio as health_aio

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.listening import bind
from gemwire_server.reflection import add_reflection

SERVICES = tuple(service.full_name for service in pb.DESCRIPTOR.services_by_name.values())
HEALTH_NAMES = (OVERALL_HEALTH, *SERVICES)


class AdminServer:
    """Plain gRPC without tokens, meant for this machine: `start`, `set_serving`, `stop`."""

    def __init__(self, address: str, *, reflected: bool, share_port: bool) -> None:
        """`share_port` lets other processes listen on the same address."""
        self.address = address
        self._health = health_aio.HealthServicer()
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", int(share_port))])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflected:
            add_reflection(self._server)

    async def start(self) -> None:
        """Takes the address and answers NOT_SERVING; raises OSError if it cannot be had."""
        await self.set_serving(False)
        self.address = bind(self._server, self.address)
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """What the health service says of every service."""
        await set_health(self._health, serving)

    async def stop(self) -> None:
        """Ends who watches too."""
        await self._server.stop(None)


async def set_health(health: health_aio.HealthServicer, serving: bool) -> None:
    """The same for every service."""
    answer = health_pb2.HealthCheckResponse
    for name in HEALTH_NAMES:
        await health.set(name, answer.SERVING if serving else answer.NOT_SERVING)
