"""What streams of every API share."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

import grpc

from gemwire_server.fronts.grpc.handlers import Context
from gemwire_server.service.stream_flow import not_computed

# gRPC varies the age of a connection by a tenth. After this much of it, no connection takes new calls, so a
# stream that moves gets another connection.
STREAM_AGE = 1.1
# Grace period of a stream without unanswered texts, once its client was asked to go elsewhere.
LINGER_SECONDS = 1.0


class Stream(Protocol):
    """A stream of an API."""

    async def serve(self) -> None:
        """Answers it to its end. Raises GemwireError, which ends it."""

    def leave(self) -> None:
        """Has it end soon, as the server drains. What was read before is answered."""


class Streams:
    """The open streams of an API."""

    def __init__(self) -> None:
        self.draining = False
        self._open: set[Stream] = set()

    def drain(self) -> None:
        """Has every stream leave. One that opens later finds `draining` set."""
        self.draining = True
        for stream in self._open:
            stream.leave()

    async def serve(self, stream: Stream, context: Context) -> None:
        """Answers a stream to its end, beginning with its headers: some clients send nothing before those,
        and gRPC would hold them back for the first message."""
        self._open.add(stream)
        try:
            await sent(context.send_initial_metadata(()))
            await stream.serve()
        finally:
            self._open.discard(stream)


class Room:
    """A limit on how much of a stream is unanswered, in texts or bytes. The reader takes room for what it
    has read, and the writer frees it once that is answered."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._freed = asyncio.Event()
        self.taken = 0

    async def take(self, cost: int) -> None:
        """Waits until there is room. What is larger than all of it is let in alone."""
        while self.taken and self.taken + cost > self._size:
            self._freed.clear()
            await self._freed.wait()
        self.taken += cost

    def free(self, cost: int) -> None:
        self.taken -= cost
        self._freed.set()


async def woken(event: asyncio.Event, *, lingering: bool) -> None:
    """Waits until the event is set, and clears it. Raises Stopped where that takes a stream that is only
    `lingering` too long."""
    try:
        async with asyncio.timeout(LINGER_SECONDS if lingering else None):
            await event.wait()
    except TimeoutError:
        raise not_computed() from None
    event.clear()


async def sent(sending: Awaitable[None]) -> None:
    """Waits until something is sent. Raises CancelledError where the client has gone: grpc.aio cancels the
    call for that too, but a moment after sending has failed."""
    try:
        await sending
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None
