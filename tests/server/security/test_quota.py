"""A quota's bucket: its rate, its debts, and the turns of streams that wait."""

import asyncio
import time

import pytest

from gemwire_server.errors import QuotaExceeded
from gemwire_server.security.quota import Bucket

WAIT = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_over_time_a_bucket_gives_its_rate() -> None:
    clock = Clock()
    bucket = Bucket("a", 100.0, 50.0, clock=clock)
    passed = 0
    for _ in range(10_000):
        try:
            bucket.take(37)
            passed += 37
        except QuotaExceeded:
            pass
        clock.now += 0.01
    assert abs(passed - (100 * 100.0 + 50)) <= 37


def test_more_than_the_burst_passes_once_and_is_owed() -> None:
    clock = Clock()
    bucket = Bucket("a", 100.0, 50.0, clock=clock)
    bucket.take(250)
    clock.now = 1.9
    with pytest.raises(QuotaExceeded):
        bucket.take(0)
    clock.now = 2.1
    bucket.take(0)
    bucket.take(10)
    bucket.give_back(10_000)
    with pytest.raises(QuotaExceeded):
        bucket.take(50)
        bucket.take(1)


def test_waiting_streams_take_turns_and_may_be_hurried() -> None:
    async def run() -> tuple[list[int], float]:
        bucket = Bucket("a", 1000.0, 1.0)
        order: list[int] = []

        async def wait(number: int) -> None:
            await bucket.wait(100, lambda: False)
            order.append(number)

        began = time.monotonic()
        await asyncio.gather(*(wait(i) for i in range(4)))
        took = time.monotonic() - began
        return order, took

    order, took = asyncio.run(run())
    assert order == [0, 1, 2, 3]
    assert took >= 0.29  # the first passes at once, three wait for 100 tokens each

    async def hurried() -> None:
        bucket = Bucket("a", 0.001, 1.0)
        await bucket.wait(100, lambda: False)
        async with asyncio.timeout(WAIT):
            await bucket.wait(100, lambda: True)

    asyncio.run(hurried())
