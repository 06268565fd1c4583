"""Calls whose deadlines pass while no step ends."""

import asyncio
from dataclasses import dataclass

import numpy as np

from faults.load import Outcomes, connected, embed, open_loop
from faults.marked import marked
from faults.under_test import UnderTest

# A server learns of a deadline later than its caller set it, by what the call took to arrive.
TRANSIT_SECONDS = 0.1
# A bound of the histogram, and by how much deadlines are shorter.
BOUND_SECONDS, SLACK_SECONDS = 0.512, 0.010
TIMEOUT_SECONDS = BOUND_SECONDS - SLACK_SECONDS


@dataclass
class Expired:
    """`computed_late`: texts whose step began after their deadline. `ended_late`: calls that the server
    had open for more than 10 ms longer than their deadline was away."""

    outcomes: Outcomes
    computed_late: int
    ended_late: int


async def expire(server: UnderTest, *, calls: int, stall: float) -> Expired:
    """Stalls the engine and calls at even times meanwhile, so that all deadlines pass before it goes on."""
    times = np.linspace(0, stall - TIMEOUT_SECONDS - 0.3, calls)
    async with connected(server.address) as stub:
        untimed = embed(stub, marked)
        await untimed(0)
        before = _slower(server)
        with server.controls.held():
            first = asyncio.ensure_future(untimed(0))
            await asyncio.sleep(0.1)
            outcomes = await open_loop(embed(stub, marked, TIMEOUT_SECONDS), times, first=1)
            await asyncio.sleep(0.2)
        await first
        await untimed(0)
    deadlines = {one.number: one.sent + TIMEOUT_SECONDS for one in outcomes.all}
    computed = server.controls.computed()
    late = [
        row["text"]
        for row in computed[computed["text"] > 0]
        if row["began"] > deadlines[int(row["text"])] + TRANSIT_SECONDS
    ]
    return Expired(outcomes, len(late), _slower(server) - before - 1)  # the first waited for all


def _slower(server: UnderTest) -> int:
    """Calls that took longer than the bound."""
    metrics, name = server.metrics(), "gemwire_call_duration_seconds"
    within = metrics.sum(f"{name}_bucket", method="Embed", le=str(BOUND_SECONDS))
    return round(metrics.sum(f"{name}_count", method="Embed") - within)
