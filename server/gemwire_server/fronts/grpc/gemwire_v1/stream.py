"""EmbedStream: options once, many texts a message, results as they finish.

One task reads, one a message works, the handler's own writes. The reader stops while the client has its
credit's worth of texts unanswered: HTTP/2's flow control then holds the client back, whether or not it
counts. A bad text never ends the stream, and a queue without room only slows it down.
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import GemwireError, InvalidInput
from gemwire_server.fronts.grpc.gemwire_v1.messages import (
    check_options,
    read_inputs,
    timing_message,
)
from gemwire_server.fronts.grpc.gemwire_v1.wire import (
    BESIDE_RESULTS,
    results_that_fit,
    stream_results,
)
from gemwire_server.fronts.grpc.handlers import Context, parse
from gemwire_server.fronts.grpc.message_limits import Layout
from gemwire_server.fronts.grpc.records import field
from gemwire_server.fronts.grpc.status import duration
from gemwire_server.fronts.grpc.streams import STREAM_AGE, Room, Streams, sent, woken
from gemwire_server.service.call import Call
from gemwire_server.service.requests import CheckedOptions
from gemwire_server.service.results import Timing, Tokenized
from gemwire_server.service.service import Service, internal_error
from gemwire_server.service.stream_flow import StreamFlow, groups, not_computed

LAYOUT = Layout(nested={pb.EmbedStreamRequest.BATCH_FIELD_NUMBER: {}})
RESULTS = b"\x12"  # EmbedStreamResponse.results
# How much is gathered into one message while the transport is busy with the last.
MESSAGE_BYTES = 1 << 20
RECONNECT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """The texts of a message go to the engine in groups of about `group_tokens` tokens. A message from the
    client has at most `max_request_bytes`, and one to the client at most `max_response_bytes`. After
    `max_age` seconds the server asks the client to move the stream to another connection; 0 is never."""

    max_inflight_inputs: int
    group_tokens: int
    max_request_bytes: int
    max_response_bytes: int
    max_age: float = 0.0

    @classmethod
    def of(cls, config: ServerConfig) -> "StreamLimits":
        return cls(
            max_inflight_inputs=config.max_stream_inflight_inputs,
            group_tokens=min(config.max_batch_tokens, config.max_queue_tokens),
            max_request_bytes=config.max_request_bytes,
            max_response_bytes=config.max_response_bytes,
            max_age=config.max_connection_age * STREAM_AGE,
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """Finished texts: the bytes of their results, how many they are, and where their time went."""

    records: bytes
    count: int
    timing: Timing


class StreamService(Streams):
    """The open streams of EmbedStream."""

    def __init__(self, service: Service, config: ServerConfig) -> None:
        super().__init__()
        self.service = service
        self.limits = StreamLimits.of(config)

    async def embed_stream(self, context: Context, call: Call) -> None:
        await self.serve(_Stream(self, context, call), context)


class _Stream:
    def __init__(self, streams: StreamService, context: Context, call: Call) -> None:
        self._streams = streams
        self._service = streams.service
        self._limits = streams.limits
        self._call = call
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._outbox: deque[_Part | pb.StreamGoAway | GemwireError] = (
            deque()
        )  # bounded by the credit
        self._wake_writer = asyncio.Event()
        self._flow = StreamFlow(self._service.embedder, call, lambda: streams.draining)
        self._unanswered = Room(self._limits.max_inflight_inputs)
        self._half_closed = False
        self._said_goodbye = False

    def send(self, item: _Part | pb.StreamGoAway | GemwireError) -> None:
        """Has the writer write it; an error ends the stream."""
        self._outbox.append(item)
        self._wake_writer.set()

    def leave(self) -> None:
        """Asks the client to go elsewhere. Texts read before are answered, later ones refused."""
        self.say_goodbye("the server is shutting down", RECONNECT_SECONDS)

    def say_goodbye(self, reason: str, reconnect_after: float) -> None:
        """Asks the client, once, to reconnect elsewhere after so many seconds."""
        if not self._said_goodbye:
            self._said_goodbye = True
            self.send(pb.StreamGoAway(reason=reason, reconnect_after=duration(reconnect_after)))

    async def serve(self) -> None:
        opening = await self._read_opening()
        if opening is None:
            return
        if opening.WhichOneof("payload") != "open":
            raise InvalidInput("STREAM_NOT_OPEN", "the first message must be `open`", field="open")
        options = check_options(opening.open.options, self._service, "open.options")
        opened = pb.StreamOpened(
            model_revision=self._service.model.revision,
            max_inflight_inputs=self._limits.max_inflight_inputs,
            max_inputs_per_message=self._service.max_inputs,
            max_request_bytes=self._limits.max_request_bytes,
        )
        await self._write(pb.EmbedStreamResponse(opened=opened).SerializeToString())
        if self._streams.draining:
            self.leave()
        self._start(self._read_all(options, opening.open))
        if self._limits.max_age:
            self._start(self._leave_in_time(self._limits.max_age))
        try:
            await self._write_all(opening.open.options.include_timing)
        finally:
            for task in self._tasks:
                task.cancel()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except GemwireError as error:
                self.send(error)
            except Exception as error:
                self.send(internal_error(error, self._call))

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self) -> pb.EmbedStreamRequest | None:
        raw: Any = await self._context.read()
        return (
            None
            if raw is grpc.aio.EOF
            else parse(pb.EmbedStreamRequest, raw, self._service.max_inputs, LAYOUT)
        )

    async def _write(self, message: bytes) -> None:
        await sent(self._context.write(message))

    async def _read_opening(self) -> pb.EmbedStreamRequest | None:
        """The first message; Stopped if the server drains before there is one."""
        read = asyncio.ensure_future(self._read())
        goodbye = asyncio.ensure_future(self._wake_writer.wait())
        try:
            await asyncio.wait({read, goodbye}, return_when=asyncio.FIRST_COMPLETED)
            if not read.done():
                raise not_computed()
            return read.result()
        finally:
            read.cancel()
            goodbye.cancel()

    async def _leave_in_time(self, age: float) -> None:
        await asyncio.sleep(age)
        self.say_goodbye("the connection has reached its age", 0.0)

    async def _read_all(self, options: CheckedOptions, opening: pb.StreamOpen) -> None:
        """Starts work on each message, in turns if asked, until the client half-closes."""
        turn = asyncio.Event()
        turn.set()
        while (message := await self._read()) is not None:
            if self._call.grant is not None:
                self._call.grant.check()
            if message.WhichOneof("payload") != "batch":
                raise InvalidInput(
                    "STREAM_ALREADY_OPEN", "after `open`, every message is a `batch`", field="batch"
                )
            refused = self._streams.draining  # what was read before is answered
            count = len(message.batch.inputs)
            self._service.check_count(count, "batch.inputs")
            if not count:
                continue  # costs no credit, so it may not cost a task either
            await self._unanswered.take(count)
            next_turn = asyncio.Event() if opening.ordered else turn
            self._start(self._embed(message.batch, options, turn, next_turn, refused))
            turn = next_turn
        self._half_closed = True
        self._wake_writer.set()

    async def _embed(
        self,
        batch: pb.StreamBatch,
        options: CheckedOptions,
        turn: asyncio.Event,
        next_turn: asyncio.Event,
        refused: bool,
    ) -> None:
        """Answers a message, group by group as they finish, or all at once when its turn has come."""
        arrived = time.monotonic()
        tokenized: list[Tokenized]
        if refused:
            tokenized = [not_computed()] * len(batch.inputs)
        else:
            paths = [f"batch.inputs[{i}]" for i in range(len(batch.inputs))]
            tokenized = await self._service.embedder.tokenize(
                read_inputs(batch.inputs), options, self._call, paths
            )
        tokenize_seconds = time.monotonic() - arrived
        ids = np.uint64(batch.first_id) + np.arange(len(tokenized), dtype=np.uint64)

        async def answer(group: slice) -> _Part:
            # A group that is over the queue's limit is one text: see `groups`.
            path = f"batch.inputs[{group.start}]"
            results, steps = await self._flow.compute(tokenized[group], options, path)
            records = stream_results(results, ids[group], options.vectors)
            timing = Timing.of(arrived, tokenize_seconds, steps)
            return _Part(records, len(results.vectors), timing)

        async def answer_now(group: slice) -> None:
            self.send(await answer(group))

        texts = results_that_fit(options.vectors, self._limits.max_response_bytes)
        parts_of = list(groups(tokenized, self._limits.group_tokens, texts))
        if next_turn is turn:
            await asyncio.gather(*map(answer_now, parts_of))
            return
        parts = await asyncio.gather(*map(answer, parts_of))
        await turn.wait()
        for part in parts:
            self.send(part)
        next_turn.set()

    async def _write_all(self, include_timing: bool) -> None:
        while not (self._half_closed and self._unanswered.taken == 0):
            idle = self._unanswered.taken == 0
            await woken(self._wake_writer, lingering=self._streams.draining and idle)
            while self._outbox:
                match self._outbox.popleft():
                    case _Part() as part:
                        await self._write_results(part, include_timing)
                    case pb.StreamGoAway() as go_away:
                        message = pb.EmbedStreamResponse(go_away=go_away)
                        await self._write(message.SerializeToString())
                    case error:
                        raise error

    async def _write_results(self, first: _Part, include_timing: bool) -> None:
        """Writes the part and what is ready behind it as one message, and grants as much again."""
        parts, size = [first], len(first.records)
        most = min(MESSAGE_BYTES, self._limits.max_response_bytes - BESIDE_RESULTS)
        while self._outbox and isinstance(part := self._outbox[0], _Part):
            size += len(part.records)
            if size > most:
                break
            self._outbox.popleft()
            parts.append(part)
        count = sum(part.count for part in parts)
        rest = pb.StreamResults(
            timing=timing_message(parts[-1].timing) if include_timing else None,
            granted_inputs=count,
        )
        body = b"".join([*(part.records for part in parts), rest.SerializeToString()])
        await self._write(field(RESULTS, body))
        self._unanswered.free(count)
