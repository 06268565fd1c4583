"""Slots go round among callers, are never more than there are, and are not lost by a cancellation."""

import asyncio
import random
from collections import Counter

from gemwire_server.service.slots import Slots


def test_callers_take_turns_by_tokens() -> None:
    async def main() -> Counter[int]:
        slots, given = Slots(2), Counter[int]()

        async def one(caller: int, tokens: int) -> None:
            await slots.take(caller, tokens)
            given[caller] += tokens
            await asyncio.sleep(0)
            if sum(given.values()) < 1000:
                slots.give_back()

        sizes = {1: (10, 300), 2: (10, 50), 3: (50, 50)}
        tasks = [
            asyncio.create_task(one(caller, tokens))
            for caller, (tokens, texts) in sizes.items()
            for _ in range(texts)
        ]
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return given

    given = asyncio.run(main())
    assert max(given.values()) - min(given.values()) <= 2 * 50


def test_no_slot_is_lost_whenever_a_task_is_cancelled() -> None:
    async def main() -> None:
        rng = random.Random(0)
        slots, held = Slots(3), 0

        async def one(caller: int) -> None:
            nonlocal held
            await slots.take(caller, caller)
            held += 1
            assert held <= 3
            try:
                await asyncio.sleep(0.001 * rng.random())
            finally:
                held -= 1
                slots.give_back()

        for _ in range(50):
            tasks = [asyncio.create_task(one(rng.randrange(1, 5))) for _ in range(20)]
            for task in rng.sample(tasks, 10):
                asyncio.get_running_loop().call_later(0.004 * rng.random(), task.cancel)
            await asyncio.gather(*tasks, return_exceptions=True)
            assert slots.free == 3 and not slots._waiting and not len(slots._turns)

    asyncio.run(main())


def test_a_slot_that_comes_with_a_cancellation_goes_to_the_next() -> None:
    async def main() -> None:
        slots = Slots(1)
        await slots.take(1, 1)
        late, later = (asyncio.create_task(slots.take(caller, 1)) for caller in (2, 3))
        await asyncio.sleep(0)
        slots.give_back()
        late.cancel()
        async with asyncio.timeout(5):
            await later
        assert slots.free == 0 and late.cancelled()

    asyncio.run(main())
