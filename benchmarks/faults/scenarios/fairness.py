"""Callers with few texts beside one with many, and equal streams beside each other."""

import asyncio
import contextlib
import time
from dataclasses import dataclass

from faults.load import Outcomes, connected, embed, jain, open_loop, poisson, stream
from faults.marked import marked
from faults.under_test import UnderTest

QUERY_TOKENS = BULK_TOKENS = 16
BULK = 100_000
"""Where the numbers of streamed texts begin."""


@dataclass
class Beside:
    """Latencies of the callers in seconds; `bulk_rate` is texts of the stream a second."""

    alone: Outcomes
    beside: Outcomes
    bulk: Outcomes
    bulk_rate: float
    step_seconds: float


async def beside_a_stream(
    server: UnderTest, *, texts: int, callers: int = 8, rate: float = 10.0, alone_seconds: float
) -> Beside:
    """Measures callers, each on its own connection, alone and then beside one stream of `texts` texts."""
    async with contextlib.AsyncExitStack() as stack:
        stubs = [
            await stack.enter_async_context(connected(server.address)) for _ in range(callers + 1)
        ]

        async def call_all(seconds: float) -> Outcomes:
            found = await asyncio.gather(
                *(
                    open_loop(
                        embed(stub, lambda number: marked(number, QUERY_TOKENS)),
                        poisson(rate, seconds, seed),
                    )
                    for seed, stub in enumerate(stubs[:callers])
                )
            )
            return Outcomes([one for outcomes in found for one in outcomes.all])

        alone = await call_all(alone_seconds)
        started = time.monotonic()
        numbered = ((BULK + n, marked(BULK + n, BULK_TOKENS)) for n in range(texts))
        bulk = asyncio.create_task(stream(stubs[-1], numbered, message=64, window=256))
        found = []
        while not bulk.done():
            found.append(await call_all(1.0))
        took = time.monotonic() - started
    beside = Outcomes([one for outcomes in found for one in outcomes.all])
    beside = beside.where(lambda one: one.ended < started + took)
    steps = server.controls.computed()
    longest = float((steps["ended"] - steps["began"]).max())
    return Beside(alone, beside, await bulk, texts / took, longest)


async def equal_streams(server: UnderTest, *, streams: int = 8, seconds: float) -> float:
    """Jain's index of the texts that equal streams got in so long, from when all of them had some."""
    async with contextlib.AsyncExitStack() as stack:
        outcomes = [Outcomes() for _ in range(streams)]
        tasks = []
        for n, mine in enumerate(outcomes):
            stub = await stack.enter_async_context(connected(server.address))
            numbered = ((i, marked(i, BULK_TOKENS)) for i in range(n * 100_000, (n + 1) * 100_000))
            sending = stream(stub, numbered, message=16, window=128, outcomes=mine)
            tasks.append(asyncio.create_task(sending))
        while not all(mine.of("OK").all for mine in outcomes):
            await asyncio.sleep(0.01)
        began = [len(mine.of("OK")) for mine in outcomes]
        await asyncio.sleep(seconds)
        ended = [len(mine.of("OK")) for mine in outcomes]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return jain([after - before for before, after in zip(began, ended, strict=True)])
