"""Processes that die or stand still under load."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from faults.health import NOT_SERVING, SERVING, watched
from faults.load import Outcomes, closed_loop, connected, embed
from faults.marked import marked
from faults.processes import Usage
from faults.under_test import UnderTest

HUNG_SECONDS = 20.0
CALLERS = 16


@dataclass
class Crashed:
    """Seconds from each fault until health said so (`noticed`), until it served again (`recovered`), and
    until the last call that was under way then had ended (`answered`)."""

    outcomes: Outcomes
    noticed: list[float] = field(default_factory=list)
    recovered: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    before: Usage | None = None
    after: Usage | None = None

    @property
    def hung(self) -> int:
        return len(self.outcomes.of("DEADLINE_EXCEEDED", "PENDING"))


async def crash_engine(
    server: UnderTest, number: signal.Signals, *, times: int, between: float = 0.3
) -> Crashed:
    """Sends the engine a signal under load, `times` times, each once the server serves again."""
    async with _under_load(server) as outcomes, watched(server.address) as health:
        found = Crashed(outcomes)
        at = []
        for attempt in range(times):
            await asyncio.sleep(between)
            if attempt == 1:  # the first restart may load what every later one has
                found.before = server.usage()
            at.append(time.monotonic())
            os.kill(server.engine_pid(), number)
            gone = await health.wait_for(NOT_SERVING, after=at[-1])
            back = await health.wait_for(SERVING, after=gone)
            found.noticed.append(gone - at[-1])
            found.recovered.append(back - at[-1])
        await asyncio.sleep(between)
        found.after = server.usage()
    found.answered = [_last_end(outcomes, moment) for moment in at]
    return found


async def kill_front(server: UnderTest) -> tuple[Crashed, int]:
    """Kills one of several fronts under load. Also returns how many connections had no failed call."""
    async with contextlib.AsyncExitStack() as stack:
        loads = [await stack.enter_async_context(_under_load(server, 2)) for _ in range(16)]
        await asyncio.sleep(1.0)
        at = time.monotonic()
        before = server.usage()
        os.kill(server.front_pids()[0], signal.SIGKILL)
        await asyncio.sleep(3.0)
        after = server.usage()
    failed = [len(load.where(lambda one: one.code != "OK")) for load in loads]
    outcomes = Outcomes([one for load in loads for one in load.all])
    found = Crashed(outcomes, before=before, after=after, answered=[_last_end(outcomes, at)])
    return found, sum(count == 0 for count in failed)


@contextlib.asynccontextmanager
async def _under_load(server: UnderTest, callers: int = CALLERS) -> AsyncIterator[Outcomes]:
    """Has callers call until the block ends, and waits for their last answers."""
    outcomes = Outcomes()
    stop = asyncio.Event()
    async with connected(server.address, ("grpc.max_reconnect_backoff_ms", 200)) as stub:
        call = embed(stub, lambda number: marked(number % 500_000, 16), HUNG_SECONDS)

        async def until_stopped() -> None:
            while not stop.is_set():
                await closed_loop(call, callers, seconds=0.2, pause=0.02, outcomes=outcomes)

        loading = asyncio.create_task(until_stopped())
        try:
            yield outcomes
        finally:
            stop.set()
            await loading


def _last_end(outcomes: Outcomes, at: float) -> float:
    """Seconds until the calls that were under way at a time had ended."""
    return max((one.ended - at for one in outcomes.all if one.sent <= at < one.ended), default=0.0)
