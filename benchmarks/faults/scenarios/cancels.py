"""Calls that are cancelled while they wait."""

import asyncio
import time
from dataclasses import dataclass

from faults.load import Outcome, Outcomes, connected, embed, one
from faults.marked import marked
from faults.under_test import UnderTest

TOKENS = 8


@dataclass
class Cancelled:
    """`empty_after`: seconds from the last cancellation to a queue without tokens."""

    outcomes: Outcomes
    queued: int
    empty_after: float
    computed: int


async def cancel(server: UnderTest, *, calls: int) -> Cancelled:
    """Queues the calls behind a step that does not end, and cancels them all at once."""
    async with connected(server.address) as stub:
        call = embed(stub, lambda number: marked(number, TOKENS))
        await call(0)
        with server.controls.held():
            first = asyncio.ensure_future(call(0))
            await asyncio.sleep(0.1)
            tasks = [asyncio.create_task(one(call, Outcome(n, 0.0))) for n in range(1, calls + 1)]

            while queued_tokens(server) < calls * TOKENS:
                await asyncio.sleep(0.02)
            for task in tasks:
                task.cancel()
            outcomes = Outcomes(list(await asyncio.gather(*tasks)))
            cancelled = time.monotonic()
            while await asyncio.to_thread(queued_tokens, server):
                assert time.monotonic() < cancelled + 30, "what was cancelled still waits"
            empty = time.monotonic()
        await first
        await call(0)
    computed = set(server.controls.computed_texts().tolist()) - {0}
    return Cancelled(outcomes, calls * TOKENS, empty - cancelled, len(computed))


def queued_tokens(server: UnderTest) -> float:
    return server.metrics().sum("gemwire_queue_tokens")
