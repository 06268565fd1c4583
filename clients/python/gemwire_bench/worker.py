"""A process that sends its part of a schedule and ships what became of each call.

The worker decides when each call goes out; a sender puts the call on its way. A worker does little else:
what it computed between calls would be its own lag.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from gemwire_bench.mix import TrafficClass
from gemwire_bench.samples import Samples
from gemwire_bench.schedule import Schedule

SHIP_SECONDS = 1.0
# A schedule begins so long after the workers got it, so that every worker has it by then.
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

    def now(self) -> int:
        """Nanoseconds since the run's start; negative before it."""
        return time.monotonic_ns() - self.start


@dataclass(frozen=True, slots=True)
class Ended:
    """`cpu` is the share of one core that this process used while it sent."""

    cpu: float


class JobSender(Protocol):
    """Sends the calls of one job, each when the worker asks for it."""

    def message(self, call: int) -> Any:
        """Builds the message of a call. The worker asks for it before the call is due."""

    def send(self, call: int, message: Any, due: int) -> Awaitable[None]:
        """Sends a call that is due at `due` (nanoseconds); done when the call has ended."""

    async def finish(self) -> None:
        """Waits for unanswered calls as long as their deadline, and records those without an answer."""


class Sender(Protocol):
    """Sends the calls of a worker's jobs: over a server's connections, or to an engine in this process."""

    async def begin(self, job: Job, samples: Samples) -> JobSender:
        """Prepares a job. Its calls add to `samples`."""

    async def close(self) -> None: ...

    def cpu_seconds(self) -> float:
        """CPU seconds that sending has cost so far."""


async def serve(pipe: Connection, make: Callable[[], Sender]) -> None:
    """Runs jobs from the pipe until None comes; ships rows as bytes, then `Ended`.

    The sender is made here, for gRPC wants the loop that it will run in.
    """
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
                await _send_all(job, await sender.begin(job, samples))
            finally:
                shipping.cancel()
            cpu = (sender.cpu_seconds() - before) / (time.monotonic() - began)
            await asyncio.gather(shipping, return_exceptions=True)
            await loop.run_in_executor(None, pipe.send, samples.take())
            await loop.run_in_executor(None, pipe.send, Ended(cpu))
    finally:
        await sender.close()


async def _send_all(job: Job, sender: JobSender) -> None:
    """Sends every call of a job; returns when all have ended."""
    calls: set[asyncio.Future[None]]
    if job.callers:
        calls = {
            asyncio.ensure_future(_caller(number, job, sender)) for number in range(job.callers)
        }
        await asyncio.sleep(job.seconds - job.now() / 1e9)
    else:
        calls = await _open_loop(job, sender)
    await asyncio.gather(sender.finish(), *calls)


async def _open_loop(job: Job, sender: JobSender) -> set[asyncio.Future[None]]:
    """Sends every call when it is due; its message is made before that. Returns the calls under way."""
    calls: set[asyncio.Future[None]] = set()

    def ended(call: asyncio.Future[None]) -> None:
        if call.cancelled() or call.exception() is None:  # what failed is raised at the end
            calls.discard(call)

    for call, due in enumerate(job.schedule.at.tolist()):
        message = sender.message(call)
        # Also when late: what has been answered must be read, or its time would be this loop's.
        await asyncio.sleep(max((due - job.now()) / 1e9, 0.0))
        sent = asyncio.ensure_future(sender.send(call, message, due))
        calls.add(sent)
        sent.add_done_callback(ended)
    return calls


async def _caller(number: int, job: Job, sender: JobSender) -> None:
    """One caller of a closed loop."""
    call, end = number, round(job.seconds * 1e9)
    await asyncio.sleep(max(-job.now() / 1e9, 0.0))
    while (now := job.now()) < end:
        scheduled = call % len(job.schedule)
        await sender.send(scheduled, sender.message(scheduled), now)
        call += job.callers


def _next(pipe: Connection) -> Job | None:
    try:
        job: Job | None = pipe.recv()
    except EOFError:  # the run is gone
        return None
    return job


async def _ship(pipe: Connection, samples: Samples) -> None:
    """Ships the new rows once a second. A thread writes, for the pipe may be full."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SHIP_SECONDS)
        await asyncio.shield(loop.run_in_executor(None, pipe.send, samples.take()))
