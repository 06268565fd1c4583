"""More calls than can be computed."""

import asyncio
import time
from dataclasses import dataclass

from faults.load import Outcomes, closed_loop, connected, embed, open_loop, poisson
from faults.marked import marked
from faults.under_test import UnderTest

TOKENS = 64
BASE, OVER = 0, 100_000
"""Where the numbers of the two loads begin."""
BASE_SHARE = 0.3
WINDOW_SECONDS = 0.5


async def peak(server: UnderTest, *, seconds: float, callers: int = 64) -> float:
    """Calls a second at saturation, of callers that wait for their answers."""
    async with connected(server.address) as stub:
        started = time.monotonic()
        outcomes = await closed_loop(
            embed(stub, lambda number: marked(number % 1000, TOKENS)), callers, seconds=seconds
        )
        assert set(outcomes.codes()) == {"OK"}, outcomes.codes()
        return len(outcomes) / (time.monotonic() - started)


@dataclass
class Overloaded:
    """`goodput` is answers within their deadline a second, of both loads; `base_p99` is the latency of the
    small load before the overload; `recovered_after` is seconds from the end of the overload until the
    small load is answered as before."""

    goodput: float
    over: Outcomes
    base_p99: float
    recovered_after: float
    send_lag_p99: float

    @property
    def refused(self) -> Outcomes:
        return self.over.of("RESOURCE_EXHAUSTED")


async def overload(
    server: UnderTest,
    *,
    rate: float,
    factor: float,
    seconds: float,
    timeout: float = 1.0,
    after: float = 6.0,
) -> Overloaded:
    """`factor` times what can be computed, in the middle of a small load by another caller."""
    before = max(1.0, seconds / 4)
    async with connected(server.address) as stub, connected(server.address) as other:
        start = time.monotonic()
        call = embed(stub, lambda number: marked(number, TOKENS), timeout)
        base_call = embed(other, lambda number: marked(number, TOKENS), timeout)
        base_times = poisson(rate * BASE_SHARE, before + seconds + after, seed=1)
        base_load = asyncio.create_task(open_loop(base_call, base_times, first=BASE, start=start))
        over_times = before + poisson(rate * (factor - BASE_SHARE), seconds, seed=2)
        over = await open_loop(call, over_times, first=OVER, start=start)
        base = await base_load
    began, ended = start + before, start + before + seconds
    good = [
        one for one in (*over.all, *base.all) if one.code == "OK" and began <= one.ended < ended
    ]
    base_p99 = base.between(start, began).percentile(99)
    return Overloaded(
        goodput=len(good) / seconds,
        over=over,
        base_p99=base_p99,
        recovered_after=_recovery(base, ended, base_p99),
        send_lag_p99=_lag(over),
    )


def _recovery(base: Outcomes, ended: float, p99: float) -> float:
    """Seconds until the first window in which nine calls of ten are as fast as the p99 before."""
    at = 0.0
    while window := base.between(ended + at, ended + at + WINDOW_SECONDS).all:
        good = sum(one.code == "OK" and one.latency <= p99 for one in window)
        if good >= 0.9 * len(window):
            return at
        at += WINDOW_SECONDS / 5
    return float("inf")


def _lag(outcomes: Outcomes) -> float:
    """p99 of how late calls were sent. If it is large, the figures describe the client."""
    lags = sorted(one.sent - one.intended for one in outcomes.all)
    return lags[int(0.99 * len(lags))] if lags else 0.0
