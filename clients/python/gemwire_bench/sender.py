"""Sends a schedule over the connections of one process."""

import asyncio
import selectors
import time
from collections.abc import Awaitable
from multiprocessing.connection import Connection
from typing import Any

from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from gemwire_bench.calls import Calls
from gemwire_bench.requests import Content, Requests, options
from gemwire_bench.samples import Samples
from gemwire_bench.schedule import TASK_NUMBERS
from gemwire_bench.streams import Lane
from gemwire_bench.target import Target
from gemwire_bench.worker import Job, serve

CONNECT_SECONDS = 30.0


def main(
    pipe: Connection, target: Target, content: Content, dimensions: int, connections: int
) -> None:
    """A worker that sends to a server; serves jobs from `pipe`, see `worker.serve`."""
    # epoll would wake up to a millisecond late, which is lag.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(serve(pipe, lambda: ServerSender(target, content, dimensions, connections)))


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

    async def begin(self, job: Job, samples: Samples) -> "ServerJob":
        for channel in self._channels:
            await asyncio.wait_for(channel.channel_ready(), CONNECT_SECONDS)
        return ServerJob(self, job, samples)

    def requests(self, job: Job) -> Requests:
        return Requests(job.schedule, job.classes, self._content)

    def calls(self, job: Job, samples: Samples) -> list[Calls]:
        metadata = self._target.metadata
        return [Calls(stub, metadata, samples, job.now, self._dimensions) for stub in self._stubs]

    def lane(self, number: int, asked: Any, job: Job, samples: Samples) -> Lane:
        metadata = self._target.metadata
        return Lane(self._stubs[number], metadata, asked, samples, job.now, self._dimensions)


class ServerJob:
    """The calls of one job. Satisfies `worker.JobSender`."""

    def __init__(self, sender: ServerSender, job: Job, samples: Samples) -> None:
        self._sender = sender
        self._job = job
        self._samples = samples
        self._requests = sender.requests(job)
        self._calls = sender.calls(job, samples)
        self._lanes: dict[tuple[int, int, int], Lane] = {}
        # Plain ints: numpy's are slow to take one by one.
        self._kind = job.schedule.kind.tolist()
        self._task = job.schedule.task.tolist()
        self._deadline = job.schedule.deadline.tolist()
        self._longest_wait = max(self._deadline, default=0) / 1e9  # a worker may have no call

    def message(self, call: int) -> Any:
        match self._job.classes[self._kind[call]].mode:
            case "unary":
                return self._requests.unary(call)
            case "batch":
                return self._requests.batch(call)
        return self._requests.inputs(call)

    def send(self, call: int, message: Any, due: int) -> Awaitable[None]:
        kind, connection = self._kind[call], call % len(self._calls)
        if self._job.classes[kind].mode == "stream":
            return self._lane(kind, self._task[call], connection).send(message, kind=kind, due=due)
        return self._calls[connection].make(
            message, kind=kind, due=due, deadline=self._deadline[call]
        )

    async def finish(self) -> None:
        await asyncio.gather(*(lane.finish(self._longest_wait) for lane in self._lanes.values()))

    def _lane(self, kind: int, task: int, connection: int) -> Lane:
        if (kind, task, connection) not in self._lanes:
            asked = options(self._job.classes[kind], TASK_NUMBERS[task])
            self._lanes[kind, task, connection] = self._sender.lane(
                connection, asked, self._job, self._samples
            )
        return self._lanes[kind, task, connection]
