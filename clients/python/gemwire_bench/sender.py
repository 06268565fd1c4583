"""Sends a schedule over the connections of one process."""

import asyncio
import time
from typing import Any

from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from gemwire_bench.calls import Calls, Clock
from gemwire_bench.requests import Content, Requests, options
from gemwire_bench.samples import Samples
from gemwire_bench.schedule import TASK_NUMBERS
from gemwire_bench.streams import Lane
from gemwire_bench.target import Target
from gemwire_bench.worker import Job

CONNECT_SECONDS = 30.0


class ServerSender:
    """Calls take the connections in turn; a stream stays on its own. Satisfies `worker.Sender`."""

    def __init__(self, target: Target, content: Content, dimensions: int, connections: int) -> None:
        self._target = target
        self._content = content
        self._dimensions = dimensions
        self._channels: list[Any] = [target.channel(asynchronous=True) for _ in range(connections)]
        self._stubs: list[Any] = [EmbeddingServiceStub(channel) for channel in self._channels]

    def cpu_seconds(self) -> float:
        return time.process_time()  # gRPC's own threads too

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()

    async def run(self, job: Job, samples: Samples) -> None:
        for channel in self._channels:
            await asyncio.wait_for(channel.channel_ready(), CONNECT_SECONDS)
        run = _Run(self, job, samples, lambda: time.monotonic_ns() - job.start)
        try:
            if job.callers:
                await asyncio.gather(*(run.caller(n, job.callers) for n in range(job.callers)))
            else:
                await run.open_loop()
        finally:
            await run.finish()

    def calls(self, samples: Samples, clock: Clock) -> list[Calls]:
        metadata = self._target.metadata
        return [Calls(stub, metadata, samples, clock, self._dimensions) for stub in self._stubs]

    def lane(self, number: int, asked: Any, samples: Samples, clock: Clock) -> Lane:
        stub = self._stubs[number]
        return Lane(stub, self._target.metadata, asked, samples, clock, self._dimensions)


class _Run:
    """One job."""

    def __init__(self, sender: ServerSender, job: Job, samples: Samples, clock: Clock) -> None:
        self._sender = sender
        self._samples = samples
        self._clock = clock
        self._classes = job.classes
        self._requests = Requests(job.schedule, job.classes, sender._content)
        self._calls = sender.calls(samples, clock)
        self._lanes: dict[tuple[int, int, int], Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._at = job.schedule.at.tolist()
        self._kind = job.schedule.kind.tolist()
        self._task = job.schedule.task.tolist()
        self._deadline = job.schedule.deadline.tolist()
        self._end = round(job.seconds * 1e9)
        self._longest_wait = max(self._deadline) / 1e9

    async def open_loop(self) -> None:
        """Every call when it is due. Its message is made before that."""
        for call, due in enumerate(self._at):
            message = self._message(call)
            wait = due - self._clock()
            # Also when late: what has been answered must be read, or its time would be this loop's.
            await asyncio.sleep(max(wait / 1e9, 0.0))
            task = asyncio.ensure_future(self._send(call, message, due))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def caller(self, number: int, callers: int) -> None:
        """One caller of a closed loop."""
        call = number
        await asyncio.sleep(max(-self._clock() / 1e9, 0.0))
        while (now := self._clock()) < self._end:
            at = call % len(self._at)
            await self._send(at, self._message(at), now)
            call += callers

    def _message(self, call: int) -> Any:
        match self._classes[self._kind[call]].mode:
            case "unary":
                return self._requests.unary(call)
            case "batch":
                return self._requests.batch(call)
        return self._requests.inputs(call)

    def _send(self, call: int, message: Any, due: int) -> Any:
        kind, connection = self._kind[call], call % len(self._calls)
        if self._classes[kind].mode == "stream":
            return self._lane(kind, self._task[call], connection).send(message, kind=kind, due=due)
        return self._calls[connection].make(
            message, kind=kind, due=due, deadline=self._deadline[call]
        )

    def _lane(self, kind: int, task: int, connection: int) -> Lane:
        if (kind, task, connection) not in self._lanes:
            asked = options(self._classes[kind], TASK_NUMBERS[task])
            self._lanes[kind, task, connection] = self._sender.lane(
                connection, asked, self._samples, self._clock
            )
        return self._lanes[kind, task, connection]

    async def finish(self) -> None:
        """Waits for what is under way, as long as its deadline."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(lane.finish(self._longest_wait) for lane in self._lanes.values()))
