"""Without a proxy: connections that are reset at any byte, in the middle of a message too."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from gemwire_client import AsyncClient, Client
from support.proxy.servers import Servers
from support.proxy.workloads import TEXTS, Right

# Bytes that the server's side may send on each connection: in the handshake, in the headers, and within
# results of 97 vectors of 384 bytes.
CUTS = [60, 1_000, 5_000, 20_000, 31_111]


@contextmanager
def relay(server: str, cuts: list[int]) -> Iterator[str]:
    """An address that leads to the server. Each connection is reset after so many bytes of the server's;
    those after the last of `cuts` are not."""
    host, _, port = server.rpartition(":")
    waiting = list(cuts)

    def forward(source: socket.socket, target: socket.socket, room: float) -> None:
        with suppress(OSError):
            while room > 0 and (data := source.recv(int(min(65536, room)))):
                target.sendall(data)
                room -= len(data)
        for end in (source, target):
            with suppress(OSError):  # a reset, and not an orderly end
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((host, int(port)))
                room = waiting.pop(0) if waiting else float("inf")
                for ends in ((near, far, float("inf")), (far, near, room)):
                    threading.Thread(target=forward, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    assert not waiting, "not every cut was met"


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_stream_is_resumed(servers: Servers, right: Right, kind: str) -> None:
    async def streamed(address: str) -> list[np.ndarray]:
        async with AsyncClient(address) as client:
            return [vector async for vector in client.embed_iter(TEXTS)]

    with relay(servers.addresses[0], CUTS) as address:
        if kind == "sync":
            with Client(address) as client:
                found = list(client.embed_iter(TEXTS))
        else:
            found = asyncio.run(streamed(address))
    np.testing.assert_array_equal(found, right.vectors)
