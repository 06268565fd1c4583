"""ModelStreamInfer: a response for each request, in their order.

One task reads and tokenizes, so that one request is held as it was sent. Then a task for each request
waits for the engine, and the handler's own task writes. The reader stops while a stream has its limit of
unanswered texts. A queue without room only slows a stream down.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import grpc
import numpy as np

from gemwire_compat import open_inference_pb2 as pb
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.grpc.handlers import Context, parse
from gemwire_server.fronts.grpc.open_inference.inference import (
    FIELD,
    LAYOUT,
    MAX_ID_CHARACTERS,
    Inference,
    Inferences,
)
from gemwire_server.fronts.grpc.open_inference.statistics import Statistics
from gemwire_server.fronts.grpc.open_inference.wording import worded
from gemwire_server.fronts.grpc.streams import STREAM_AGE, Room, Streams, sent
from gemwire_server.service.call import Call
from gemwire_server.service.embedder import raise_first_error
from gemwire_server.service.requests import CheckedOptions
from gemwire_server.service.results import Tokenized
from gemwire_server.service.service import Service, internal_error
from gemwire_server.service.stream_flow import StreamFlow, groups, not_computed

Work = Callable[[], Awaitable[pb.ModelInferResponse]]

FINAL = "triton_final_response"
"""Triton's parameter that marks the last response to a request."""


class StreamService(Streams):
    """The open streams of ModelStreamInfer."""

    def __init__(
        self, service: Service, inferences: Inferences, statistics: Statistics, config: ServerConfig
    ) -> None:
        super().__init__()
        self.service = service
        self.inferences = inferences
        self.statistics = statistics
        self.max_inflight_inputs = config.max_stream_inflight_inputs
        self.group_tokens = min(config.max_batch_tokens, config.max_queue_tokens)
        self.max_age = config.max_connection_age * STREAM_AGE

    async def model_stream_infer(self, context: Context, call: Call) -> None:
        await self.serve(_Stream(self, context, call), context)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A response to come, and how much of the stream's limit it takes until it is sent."""

    response: asyncio.Task[bytes]
    cost: int


class _Stream:
    def __init__(self, streams: StreamService, context: Context, call: Call) -> None:
        self._streams = streams
        self._service = streams.service
        self._context = context
        self._call = call
        self._flow = StreamFlow(self._service.embedder, call, lambda: streams.draining)
        # Bounded by the unanswered texts. None ends the stream.
        self._answers: asyncio.Queue[_Answer | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[bytes]] = set()
        self._unanswered = Room(streams.max_inflight_inputs)
        self._leaving = asyncio.Event()
        if streams.draining:
            self.leave()

    def leave(self) -> None:
        """Has the stream end with Stopped, once what was read is answered."""
        self._leaving.set()

    async def serve(self) -> None:
        reader = asyncio.create_task(self._read_all())
        timer = None
        if self._streams.max_age:
            timer = asyncio.get_running_loop().call_later(self._streams.max_age, self.leave)
        try:
            while (answer := await self._answers.get()) is not None:
                await sent(self._context.write(await answer.response))
                self._unanswered.free(answer.cost)
            await reader  # raises what ended it
        finally:
            if timer is not None:
                timer.cancel()
            for task in (reader, *self._tasks):
                task.cancel()

    async def _read_all(self) -> None:
        """Starts work on each request until the client half-closes. Raises Stopped where the server leaves
        first, and Unauthenticated."""
        leaving = asyncio.ensure_future(self._leaving.wait())
        try:
            while (raw := await self._read(leaving)) is not None:
                if self._call.grant is not None:
                    self._call.grant.check()
                arrived = time.monotonic()
                name, read = self._parsed(raw)
                del raw  # nor is the message kept while the request waits for room
                await self._start(name, read, arrived)
        finally:
            leaving.cancel()
            self._answers.put_nowait(None)

    async def _read(self, leaving: asyncio.Future[Any]) -> bytes | None:
        read: asyncio.Future[Any] = asyncio.ensure_future(self._context.read())
        try:
            await asyncio.wait({read, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not read.done():
                raise not_computed()
            raw = read.result()
            return None if raw is grpc.aio.EOF else raw
        finally:
            read.cancel()

    def _parsed(self, raw: bytes) -> tuple[str, Inference | GemwireError]:
        """The id of a request, and what it asks for or the error that it is answered with."""
        name = ""
        try:
            request = parse(pb.ModelInferRequest, raw, self._service.max_inputs, LAYOUT)
            name = request.id[:MAX_ID_CHARACTERS]
            return name, self._streams.inferences.read(request)
        except GemwireError as error:
            return name, error.forgetting()

    async def _start(self, name: str, read: Inference | GemwireError, arrived: float) -> None:
        """Waits for room in the stream, tokenizes the texts of a request, and leaves the rest to a task."""
        # A request without texts costs something too, as it has a task.
        cost = 1 if isinstance(read, GemwireError) else max(1, len(read.inputs))
        await self._unanswered.take(cost)
        work = await self._tokenized(name, read)
        task = asyncio.create_task(self._answer(name, work, arrived))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._answers.put_nowait(_Answer(task, cost))

    async def _tokenized(self, name: str, read: Inference | GemwireError) -> Work:
        """What is left to do for a request once its texts are tokenized: they are not kept."""
        if isinstance(read, GemwireError):
            return partial(_fail, read)
        try:
            tokenized = await self._service.embedder.tokenize(
                read.inputs, read.options, self._call, read.paths
            )
        except GemwireError as error:
            return partial(_fail, error.forgetting())
        return partial(self._compute, name, read.options, tokenized)

    async def _answer(self, name: str, work: Work, arrived: float) -> bytes:
        """The response to the request with this id, or its error."""
        try:
            with self._streams.statistics.request(arrived):
                response = await work()
            response.parameters[FINAL].bool_param = True
            return pb.ModelStreamInferResponse(infer_response=response).SerializeToString()
        except GemwireError as error:
            failed = error
        except Exception as error:
            failed = internal_error(error, self._call)
        _, message = worded(failed)
        # As Triton does, the id says which request has failed.
        return pb.ModelStreamInferResponse(
            error_message=message, infer_response=pb.ModelInferResponse(id=name)
        ).SerializeToString()

    async def _compute(
        self, name: str, options: CheckedOptions, tokenized: Sequence[Tokenized]
    ) -> pb.ModelInferResponse:
        raise_first_error(tokenized)
        slices = groups(tokenized, self._streams.group_tokens, max(1, len(tokenized)))
        parts = await asyncio.gather(
            *(self._flow.compute(tokenized[each], options, FIELD) for each in slices)
        )
        vectors = [np.zeros((0, self._service.model.dimensions[0]), np.float32)]
        for results, _ in parts:
            results.raise_first_error()
            vectors.append(results.vectors)
        return self._streams.inferences.response(name, options.vectors, np.concatenate(vectors))


async def _fail(error: GemwireError) -> NoReturn:
    raise error
