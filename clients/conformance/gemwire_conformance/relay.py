"""A TCP relay in front of the scripted server, which can cut a connection as a network does."""

import asyncio
import socket
import struct
from collections.abc import Coroutine
from contextlib import suppress

LINGER_ZERO = struct.pack("ii", 1, 0)


class Relay:
    """Passes bytes on between clients and the server; `address` is where clients connect."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._clients: dict[int, asyncio.StreamWriter] = {}  # by the relay's own port at the server
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{port}"

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open_peers(self) -> set[str]:
        """The connections that clients hold open, as the server names its peers."""
        return {f"ipv4:127.0.0.1:{port}" for port in self._clients}

    def cut(self, peer: str) -> None:
        """Resets the client's connection that the server sees as `peer`, one of `open_peers`."""
        writer = self._clients.get(int(peer.rpartition(":")[2]))
        if writer is not None:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            onward, back = await asyncio.open_connection("127.0.0.1", self._target)
            own = back.get_extra_info("sockname")[1]
            self._clients[own] = writer
            try:
                await self._until_either(_copy(reader, back), _copy(onward, writer))
            except asyncio.CancelledError:
                pass  # at the end; asyncio would log it
            finally:
                del self._clients[own]
                back.close()
                writer.close()
        finally:
            self._tasks.discard(task)

    async def _until_either(self, *copies: Coroutine[None, None, None]) -> None:
        tasks = [asyncio.create_task(copy) for copy in copies]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
