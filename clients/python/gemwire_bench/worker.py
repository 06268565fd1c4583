"""A process that sends its part of a schedule and ships what became of each call.

It does little else: what it would compute between calls would be its own lag.
"""

import asyncio
import gc
import selectors
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

from gemwire_bench.mix import TrafficClass
from gemwire_bench.requests import Content
from gemwire_bench.samples import Samples
from gemwire_bench.schedule import Schedule
from gemwire_bench.target import Target

SHIP_SECONDS = 1.0
# A schedule begins so long after the workers were told, so that all have heard.
HEAD_START_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Job:
    """A worker's part of a run. `start` is of `time.monotonic_ns`, one clock for all processes.

    With `callers` the loop is closed: that many callers each send a call when their last is answered, for
    `seconds`, and the schedule only says what they send.
    """

    schedule: Schedule
    classes: Sequence[TrafficClass]
    start: int
    seconds: float
    callers: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """`cpu` is the share of one core that this process used while it sent."""

    cpu: float


class Sender(Protocol):
    """What a worker sends through: a server's connections, or an engine in this process."""

    async def run(self, job: Job, samples: Samples) -> None:
        """Sends it all and returns when all has ended."""

    async def close(self) -> None: ...

    def cpu_seconds(self) -> float:
        """What sending has cost so far, of one core."""


def main(
    pipe: Connection, target: Target, content: Content, dimensions: int, connections: int
) -> None:
    """Runs jobs until None comes. Ships rows as bytes, then `Ended`; an error as its text."""
    from gemwire_bench.sender import ServerSender

    # epoll would wake up to a millisecond late, which is lag.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(serve(pipe, lambda: ServerSender(target, content, dimensions, connections)))


async def serve(pipe: Connection, make: Callable[[], Sender]) -> None:
    """Runs jobs from the pipe, by a sender that is made here: gRPC wants the loop that it will run in."""
    loop = asyncio.get_running_loop()
    sender = make()
    gc.collect()
    gc.freeze()  # so that a collection in a run is short
    pipe.send("ready")
    try:
        while (job := await loop.run_in_executor(None, _next, pipe)) is not None:
            samples = Samples()
            shipping = asyncio.create_task(_ship(pipe, samples))
            before, began = sender.cpu_seconds(), time.monotonic()
            try:
                await sender.run(job, samples)
            finally:
                shipping.cancel()
            cpu = (sender.cpu_seconds() - before) / (time.monotonic() - began)
            await asyncio.gather(shipping, return_exceptions=True)
            await loop.run_in_executor(None, pipe.send, samples.take())
            await loop.run_in_executor(None, pipe.send, Ended(cpu))
    finally:
        await sender.close()


def _next(pipe: Connection) -> Job | None:
    try:
        job: Job | None = pipe.recv()
    except EOFError:  # the run is gone
        return None
    return job


async def _ship(pipe: Connection, samples: Samples) -> None:
    """Once a second what is new; a thread writes, for the pipe may be full."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SHIP_SECONDS)
        await asyncio.shield(loop.run_in_executor(None, pipe.send, samples.take()))
