"""A stream under load: sends messages when due, as far as the server's credit allows; a sample a text."""

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from gemwire.v1 import embedding_pb2 as pb
from gemwire_bench.calls import Clock, is_vector
from gemwire_bench.samples import UNANSWERED, WRONG, Samples, server_times
from gemwire_client.errors import CODES

if TYPE_CHECKING:
    from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceAsyncStub


@dataclass(slots=True)
class _Message:
    kind: int
    due: int
    begun: int
    left: int
    ended: asyncio.Future[None]
    sent: int = 0


class Lane:
    """One stream after another. When a stream ends, its unanswered texts end with it.

    The wait for credit is the server's back-pressure: it is part of the latency, not of the client's lag.
    """

    def __init__(
        self,
        stub: "EmbeddingServiceAsyncStub",
        metadata: tuple[tuple[str, str], ...],
        options: pb.EmbedOptions,
        samples: Samples,
        clock: Clock,
        dimensions: int,
    ) -> None:
        self._stub = stub
        self._metadata = metadata
        self._opening = pb.EmbedStreamRequest(open=pb.StreamOpen(options=options))
        self._samples = samples
        self._clock = clock
        self._dimensions = dimensions
        self._due: deque[tuple[_Message, list[pb.EmbedInput]]] = deque()
        self._unanswered: dict[int, _Message] = {}  # by the id of a text
        self._next_id = 0
        self._credit = 0
        self._limit = 0
        self._open = False
        self._finishing = False
        self._changed = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()
        self._task = asyncio.create_task(self._streams())

    def send(self, inputs: list[pb.EmbedInput], *, kind: int, due: int) -> asyncio.Future[None]:
        """Queues a message of these texts; done when every text has a sample."""
        ended = asyncio.get_running_loop().create_future()
        self._due.append((_Message(kind, due, self._clock(), len(inputs), ended), inputs))
        self.idle.clear()
        self._changed.set()
        return ended

    async def finish(self, seconds: float) -> None:
        """Waits so long for unanswered texts, then gives them up as UNANSWERED."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.idle.wait(), seconds)
        self._finishing = True
        self._changed.set()
        _, pending = await asyncio.wait({self._task}, timeout=2.0)
        if pending:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._end_all(UNANSWERED)

    async def _streams(self) -> None:
        while not self._finishing:
            while not self._due and not self._finishing:
                self._changed.clear()
                await self._changed.wait()
            if self._finishing:
                return
            call: Any = self._stub.EmbedStream(metadata=self._metadata)
            self._credit, self._open = 0, True
            reading = asyncio.create_task(self._read(call))
            try:
                await call.write(self._opening)
                await self._write(call)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                pass  # the call's code says why
            finally:
                if self._finishing and self._unanswered:
                    call.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                call.cancel()
            code = await call.code()
            given_up = self._finishing and code is grpc.StatusCode.CANCELLED
            if code is grpc.StatusCode.OK or given_up:
                self._end_unanswered(UNANSWERED)  # due messages go to the next stream
            else:
                self._end_all(code.name)

    async def _write(self, call: Any) -> None:
        """Writes messages until the stream ends or goes away, or no more are to come."""
        while True:
            while self._open and not self._sendable():
                if self._finishing:
                    await call.done_writing()
                    return
                self._changed.clear()
                await self._changed.wait()
            if not self._open:
                await call.done_writing()
                return
            message, inputs = self._due.popleft()
            first = self._next_id
            self._next_id += len(inputs)
            self._credit -= len(inputs)
            message.sent = self._clock()
            for number in range(first, self._next_id):
                self._unanswered[number] = message
            await call.write(
                pb.EmbedStreamRequest(batch=pb.StreamBatch(first_id=first, inputs=inputs))
            )

    def _sendable(self) -> bool:
        if not self._due:
            return False
        # A message larger than all of the credit goes out once nothing else is under way.
        return self._due[0][0].left <= self._credit or (self._limit > 0 and not self._unanswered)

    async def _read(self, call: Any) -> None:
        try:
            async for response in call:
                match response.WhichOneof("payload"):
                    case "opened":
                        self._credit += response.opened.max_inflight_inputs
                        self._limit = response.opened.max_inflight_inputs
                    case "results":
                        self._take(response.results)
                    case "go_away":
                        self._open = False
                self._changed.set()
        except grpc.aio.AioRpcError:
            pass
        finally:
            self._open = False
            self._changed.set()

    def _take(self, results: pb.StreamResults) -> None:
        now = self._clock()
        self._credit += results.granted_inputs
        timing = results.timing if results.HasField("timing") else None
        for result in results.results:
            message = self._unanswered.pop(result.id, None)
            if message is None:
                continue
            code, good, tokens = "OK", 1, result.embedding.token_count
            if result.WhichOneof("outcome") == "error":
                code, good = CODES.get(result.error.code, grpc.StatusCode.UNKNOWN).name, 0
            elif not is_vector(result.embedding, self._dimensions):
                code, good, tokens = WRONG, 0, 0
            self._note(message, code, now, timing, good, tokens)
        self._look()

    def _note(
        self,
        message: _Message,
        code: str,
        now: int,
        timing: Any = None,
        good: int = 0,
        tokens: int = 0,
    ) -> None:
        """Records the sample of a text."""
        self._samples.add(
            kind=message.kind, code=code, due=message.due, begun=message.begun,
            sent=message.sent or now, ended=now, **server_times(timing), good=good, tokens=tokens,
        )  # fmt: skip
        message.left -= 1
        if not message.left and not message.ended.done():
            message.ended.set_result(None)

    def _end_unanswered(self, code: str) -> None:
        now = self._clock()
        for message in self._unanswered.values():
            self._note(message, code, now)
        self._unanswered.clear()
        self._look()

    def _end_all(self, code: str) -> None:
        self._end_unanswered(code)
        now = self._clock()
        while self._due:
            message, inputs = self._due.popleft()
            for _ in inputs:
                self._note(message, code, now)
        self._look()

    def _look(self) -> None:
        if not self._unanswered and not self._due:
            self.idle.set()
