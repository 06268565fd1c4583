"""One EmbedStream for asyncio: a task that reads the texts, and one that reads the answers."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client import requests
from gemwire_client.connection import AsyncConnection, closed
from gemwire_client.errors import DeadlineExceeded, GemwireError
from gemwire_client.exchange import Answer, Exchange
from gemwire_client.requests import Text

# A write raises these where the call has ended; the receiver has the reason.
ENDED = (asyncio.InvalidStateError, grpc.RpcError)


class Source:
    """Reads texts in a task of its own, over all streams of an exchange.

    So a slow text holds up neither answers nor the texts before it.
    """

    def __init__(self, exchange: Exchange, texts: AsyncIterator[Text]) -> None:
        self.wake = asyncio.Event()  # wakes the task that runs the streams
        self._exchange = exchange
        self._texts = texts
        self._room = asyncio.Event()
        self._task = asyncio.ensure_future(self._read())
        self._task.add_done_callback(lambda _: self.wake.set())

    def look(self) -> None:
        """Reads on if there is room; raises the error that the texts' iterator raised."""
        if self._task.done():
            self._task.result()
        elif self._exchange.wanted:
            self._room.set()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            while not self._exchange.wanted:
                self._room.clear()
                await self._room.wait()
            try:
                text = await anext(self._texts)
            except StopAsyncIteration:
                self._exchange.source_ended = True
                return
            self._exchange.add(requests.text_input(text))
            self.wake.set()


class AsyncStream:
    """A call under way. `error` is why it ended, None after OK."""

    def __init__(self, connection: AsyncConnection, wake: asyncio.Event) -> None:
        self.error: GemwireError | None = None
        self.ended = False
        self.arrived: deque[pb.EmbedStreamResponse] = deque()  # bounded by the credit
        self._connection = connection
        self._call = connection.stream()
        self._wake = wake
        self._receiver = asyncio.ensure_future(self._receive())

    async def send(self, message: pb.EmbedStreamRequest) -> None:
        with suppress(*ENDED):
            await self._call.write(message)

    async def half_close(self) -> None:
        with suppress(*ENDED):
            await self._call.done_writing()

    async def close(self) -> None:
        """Cancels the call if it has not ended, and lets go of its connection."""
        self._call.cancel()
        self._receiver.cancel()
        await self.half_close()  # ends the task of a call with interceptors that waits for messages
        await asyncio.gather(self._receiver, return_exceptions=True)
        # gRPC keeps the connection while the call exists, and an error's traceback may keep this stream.
        del self._call

    async def _receive(self) -> None:
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                if isinstance(message, GemwireError):
                    self.error = message
                    break
                self.arrived.append(message)
                self._wake.set()
        except grpc.RpcError as raw:
            # gRPC reports INTERNAL without details where a call ended under a write, whatever its status.
            self.error = self._connection.failure(raw)
        finally:
            if self._connection.closed:
                self.error = closed()
            self.ended = True
            self._wake.set()


async def run_stream(
    exchange: Exchange,
    source: Source,
    call: AsyncStream,
    opening: pb.EmbedStreamRequest,
    timeout: float | None,
) -> AsyncGenerator[tuple[int, Answer], None]:
    """Sends and receives until the stream ends."""
    half_closed = False
    try:
        async with _patience(timeout):
            await call.send(opening)
        while True:
            source.wake.clear()
            while (batch := exchange.next_batch()) is not None:
                async with _patience(timeout):
                    await call.send(batch)
            source.look()  # after sending, which makes room
            if exchange.sending_done and not half_closed:
                await call.half_close()
                half_closed = True
            if answers := list(exchange.ready()):
                for answer in answers:
                    yield answer
                continue  # there may be room to read again
            if call.arrived:
                exchange.receive(call.arrived.popleft())
            elif call.ended:
                return
            else:
                async with _patience(timeout if exchange.waiting else None):
                    await source.wake.wait()
    finally:
        await call.close()


@asynccontextmanager
async def _patience(timeout: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout):
            yield
    except TimeoutError:
        raise DeadlineExceeded(
            f"no answer for {timeout:g} s", code=grpc.StatusCode.DEADLINE_EXCEEDED
        ) from None
