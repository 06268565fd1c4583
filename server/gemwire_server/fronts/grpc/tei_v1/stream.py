"""Streams of tei.v1: an answer for each request, in order, until a request fails.

One task reads, the handler's own writes, and one a group of requests works. Requests that follow each
other closely are one group, which costs the engine's process one message. The reader stops while the
client has so many requests unanswered: HTTP/2's flow control then holds the client back.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message

from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.grpc.handlers import Context, parse
from gemwire_server.fronts.grpc.streams import STREAM_AGE, Room, Streams, sent, woken
from gemwire_server.service.call import Call
from gemwire_server.service.service import Service, internal_error
from gemwire_server.service.stream_flow import StreamFlow, not_computed

# Requests are gathered into a group until they are this share of those under way, and for so long at most:
# the engine has work meanwhile, and its process takes a group as one message.
GATHERED_SHARE = 1 / 4
GATHER_SECONDS = 0.01


@dataclass(slots=True, eq=False)
class Item:
    """A request of a stream, of so many bytes, and its answer once there is one; an error ends the stream
    in its turn."""

    request: Any
    size: int
    answer: bytes | GemwireError | None = None
    arrived: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Group:
    """Requests to answer: `call` and `flow` are the stream's, and `answered` is to be called whenever some
    have got their answers."""

    items: Sequence[Item]
    call: Call
    flow: StreamFlow
    answered: Callable[[], None]


Work = Callable[[Group], Awaitable[None]]


class StreamService(Streams):
    """The open streams of every method."""

    def __init__(self, service: Service, config: ServerConfig) -> None:
        super().__init__()
        self.service = service
        self.max_inflight = config.max_stream_inflight_inputs
        self.max_inflight_bytes = config.max_request_bytes
        self.max_age = config.max_connection_age * STREAM_AGE

    async def answer(
        self,
        kind: type[Message],
        work: Work,
        context: Context,
        call: Call,
        *,
        max_inflight: int | None = None,
        growth: int = 1,
    ) -> None:
        """Answers a stream of requests of that kind, of which no more than `max_inflight` are unanswered
        where fewer are allowed than the configured number. An answer can have `growth` times the bytes of
        its request."""
        inflight = Room(min(max_inflight or self.max_inflight, self.max_inflight))
        inflight_bytes = Room(self.max_inflight_bytes // growth)
        stream = _Stream(self, kind, work, context, call, inflight, inflight_bytes)
        await self.serve(stream, context)


class _Stream:
    def __init__(
        self,
        streams: StreamService,
        kind: type[Message],
        work: Work,
        context: Context,
        call: Call,
        inflight: Room,
        inflight_bytes: Room,
    ) -> None:
        self._service = streams.service
        self._inflight = inflight
        self._inflight_bytes = inflight_bytes
        self._max_age = streams.max_age
        self._kind = kind
        self._work = work
        self._context = context
        self._call = call
        self._leaving = streams.draining
        self._flow = StreamFlow(self._service.embedder, call, lambda: self._leaving)
        self._unanswered: deque[Item] = deque()
        self._gathered: list[Item] = []
        self._gathering: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake_writer = asyncio.Event()
        self._half_closed = False

    def leave(self) -> None:
        """Takes no more requests, and ends the stream once those that were read are answered."""
        self._leaving = True
        self._wake_writer.set()

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        leaving = loop.call_later(self._max_age, self.leave) if self._max_age else None
        self._start(self._read_all())
        try:
            await self._write_all()
        finally:
            for timer in (leaving, self._gathering):
                if timer is not None:
                    timer.cancel()
            for task in self._tasks:
                task.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_all(self) -> None:
        """Starts work on each request, until the client half-closes or a request cannot be read."""
        while (item := await self._read()) is not None:
            await self._inflight.take(1)
            await self._inflight_bytes.take(item.size)
            self._unanswered.append(item)
            if item.answer is not None:
                self._wake_writer.set()
                return  # nothing after it is answered
            self._gather(item)
        self._half_closed = True
        self._wake_writer.set()

    async def _read(self) -> Item | None:
        try:
            raw: Any = await self._context.read()
            if raw is grpc.aio.EOF:
                return None
            if self._leaving:
                raise not_computed()
            if self._call.grant is not None:
                self._call.grant.check()
            return Item(parse(self._kind, raw, self._service.max_inputs), len(raw))
        except GemwireError as error:
            return Item(None, 0, error.forgetting())
        except Exception as error:
            return Item(None, 0, internal_error(error, self._call))

    def _gather(self, item: Item) -> None:
        self._gathered.append(item)
        self._begin_if_enough()
        if self._gathered and self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._begin)

    def _begin_if_enough(self) -> None:
        under_way = len(self._unanswered) - len(self._gathered)
        if len(self._gathered) >= under_way * GATHERED_SHARE:
            self._begin()

    def _begin(self) -> None:
        """Has what was gathered answered."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._gathered:
            items, self._gathered = self._gathered, []
            self._start(self._answer(items))

    async def _answer(self, items: list[Item]) -> None:
        failed: GemwireError | None = None
        try:
            await self._work(Group(items, self._call, self._flow, self._wake_writer.set))
        except GemwireError as error:
            failed = error.forgetting()
        except Exception as error:
            failed = internal_error(error, self._call)
        for item in items:
            if item.answer is None and failed is not None:
                item.answer = failed
        self._wake_writer.set()

    async def _write_all(self) -> None:
        while True:
            while self._unanswered and (answer := self._unanswered[0].answer) is not None:
                if isinstance(answer, GemwireError):
                    raise answer
                await sent(self._context.write(answer))
                self._inflight_bytes.free(self._unanswered.popleft().size)
                self._inflight.free(1)
            self._begin_if_enough()
            if self._half_closed and not self._unanswered:
                return
            await woken(self._wake_writer, lingering=self._leaving and not self._unanswered)
