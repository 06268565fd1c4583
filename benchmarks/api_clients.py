"""Clients that send bytes made before and look no further into answers: what an API costs, not a client.

Each takes a request's bytes and returns when its answer is there. An answer that is an error raises
RuntimeError, which says its code.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

Send = Callable[[bytes], Awaitable[bytes]]
LARGEST = [("grpc.max_receive_message_length", 1 << 26)]


@asynccontextmanager
async def grpc_unary(address: str, path: str) -> AsyncIterator[Send]:
    """Calls of one unary method, /package.Service/Method, on one connection."""
    options = [*LARGEST, ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        await channel.channel_ready()
        call: Any = channel.unary_unary(path)

        async def send(request: bytes) -> bytes:
            answer: bytes = await call(request)
            return answer

        yield send


@asynccontextmanager
async def http_post(address: str, path: str) -> AsyncIterator[Send]:
    """POSTs of JSON to one path, one at a time on one connection that is kept open."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: "
    ).encode()

    async def send(request: bytes) -> bytes:
        writer.write(head + str(len(request)).encode() + b"\r\n\r\n" + request)
        headers = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, _, rest = headers.partition(b"content-length:")
        body = await reader.readexactly(int(rest.partition(b"\r\n")[0]))
        if not headers.startswith(b"http/1.1 200"):
            raise RuntimeError(headers.partition(b"\r\n")[0].decode())
        return body

    try:
        yield send
    finally:
        writer.close()


async def stream(
    address: str, path: str, requests: Sequence[bytes], answered: Callable[[bytes], int], texts: int
) -> float:
    """Sends all requests on one stream, and returns the seconds until `texts` are answered.

    `answered` says how many texts a message answers.
    """
    async with grpc.aio.insecure_channel(address, LARGEST) as channel:
        await channel.channel_ready()
        call: Any = channel.stream_stream(path)()
        began = time.perf_counter()

        async def write() -> None:
            for request in requests:
                await call.write(request)
            await call.done_writing()

        writing = asyncio.create_task(write())
        got = 0
        while (message := await call.read()) is not grpc.aio.EOF:
            got += answered(message)
        await writing
        if got != texts:
            raise RuntimeError(f"{got} of {texts} texts were answered: {await call.code()}")
        return time.perf_counter() - began


async def rate(sends: Sequence[Send], requests: Sequence[bytes], seconds: float) -> float:
    """Answers a second of as many callers as there are `sends`, each with one call at a time."""
    count = 0
    began = time.perf_counter()
    end = began + seconds

    async def call(send: Send, first: int) -> None:
        nonlocal count
        at = first
        while time.perf_counter() < end:
            await send(requests[at % len(requests)])
            count += 1
            at += 1

    await asyncio.gather(*(call(send, i * 7) for i, send in enumerate(sends)))
    return count / (time.perf_counter() - began)


async def p50(send: Send, requests: Sequence[bytes], seconds: float) -> float:
    """The median time of a call in milliseconds, for one caller."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        await send(requests[len(times) % len(requests)])
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)
