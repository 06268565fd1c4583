"""The admin address: health and reflection apart from the calls, for operators."""

import grpc

from gemwire_server.fronts.grpc.health import Health
from gemwire_server.fronts.grpc.listening import bind
from gemwire_server.fronts.grpc.reflection import add_reflection


class AdminServer:
    """Plain gRPC without tokens, meant for this machine and for probes: `start`, `stop`."""

    def __init__(self, address: str, health: Health, *, reflected: bool, share_port: bool) -> None:
        """`share_port` lets other processes listen on the same address."""
        self.address = address
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", int(share_port))])
        health.add_to(self._server)
        if reflected:
            add_reflection(self._server)

    async def start(self) -> None:
        """Takes the address and answers; raises OSError if it cannot be had."""
        self.address = bind(self._server, self.address)
        await self._server.start()

    async def stop(self) -> None:
        """Closes the connections of health watchers too."""
        await self._server.stop(None)
