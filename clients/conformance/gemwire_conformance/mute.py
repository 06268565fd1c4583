"""Listeners that speak no gRPC: what a client meets at a wrong address or a broken peer."""

import asyncio
import functools
import socket
from contextlib import suppress

GARBAGE = b"\x00\x01\x02 this is not HTTP/2 \xff\xfe" * 8


class Mute:
    """The listeners by name: silent, closes, garbage; and refused, a port on which no process listens."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._reserved = socket.socket()
        self.addresses: dict[str, str] = {}

    async def start(self) -> None:
        # Bound and not listening: no other process gets the port.
        self._reserved.bind(("127.0.0.1", 0))
        self.addresses["refused"] = f"127.0.0.1:{self._reserved.getsockname()[1]}"
        for name in ("silent", "closes", "garbage"):
            serve = functools.partial(self._serve, name)
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            self._servers.append(server)
            self.addresses[name] = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._reserved.close()

    async def _serve(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            # Cancelled at the end, which asyncio would log.
            with suppress(ConnectionError, asyncio.CancelledError):
                await reader.read(64)
                if name == "garbage":
                    writer.write(GARBAGE)
                    await writer.drain()
                if name != "closes":
                    while await reader.read(1 << 16):
                        pass
        finally:
            self._tasks.discard(task)
            writer.close()
