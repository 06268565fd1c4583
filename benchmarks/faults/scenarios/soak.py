"""A long mix of everything: calls, batches, streams, cancellations, deadlines, reconnects."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from faults.load import Outcome, Stub, connected, embed, one, stream
from faults.marked import marked
from faults.processes import Usage
from faults.under_test import UnderTest
from gemwire.v1 import embedding_pb2 as pb

CALLERS = 12
CALLS_OF_A_CONNECTION = 100
# Bytes a call of client and server together; see grpc/grpc#43360.
KNOWN_LEAK_BYTES = 939


@dataclass
class Soaked:
    """`slope` is bytes of RSS a call, of the second half; the first fills caches and pools."""

    outcomes: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    cancelled: int = 0
    samples: list[tuple[int, Usage]] = field(default_factory=list)

    def _half(self) -> tuple[list[int], list[Usage]]:
        late = self.samples[len(self.samples) // 2 :]
        return [calls for calls, _ in late], [usage for _, usage in late]

    def slope(self) -> float:
        calls, usages = self._half()
        return float(np.polyfit(calls, [usage.rss for usage in usages], 1)[0])

    def known_slope(self) -> float:
        """The slope that the leak of the library alone would cause."""
        return KNOWN_LEAK_BYTES * self.cancelled / max(1, self.calls)

    def fds(self) -> tuple[int, int]:
        """The most file descriptors of the third quarter, and of the last."""
        _, usages = self._half()
        middle = len(usages) // 2
        return max(u.fds for u in usages[:middle]), max(u.fds for u in usages[middle:])


async def soak(server: UnderTest, *, calls: int, samples: int = 40) -> Soaked:
    """Makes `calls` calls in all; a stream counts as one."""
    found = Soaked()
    every = max(1, calls // samples)
    dice = random.Random(0)

    async def caller(seed: int) -> None:
        while found.calls < calls:
            async with connected(server.address) as stub:
                for _ in range(CALLS_OF_A_CONNECTION):
                    await _one_of_many(stub, dice, found)
                    found.calls += 1
                    if found.calls % every == 0:
                        found.samples.append((found.calls, server.usage()))

    await asyncio.gather(*(caller(seed) for seed in range(CALLERS)))
    return found


async def _one_of_many(stub: Stub, dice: random.Random, found: Soaked) -> None:
    tokens = dice.choice((8, 16, 64, 200))
    kind = dice.random()
    make = lambda number: marked(number, tokens)  # noqa: E731
    if kind < 0.6:
        outcome = await one(embed(stub, make, 10.0), Outcome(found.calls % 500_000, 0.0))
    elif kind < 0.7:
        texts = [marked(n, tokens) for n in range(dice.randint(1, 16))]
        outcome = await one(
            lambda _: stub.BatchEmbed(pb.BatchEmbedRequest(inputs=texts), timeout=10.0),
            Outcome(0, 0.0),
        )
    elif kind < 0.8:
        found.cancelled += 1
        task = asyncio.create_task(one(embed(stub, make, 10.0), Outcome(0, 0.0)))
        await asyncio.sleep(dice.uniform(0, 0.02))
        task.cancel()
        outcome = await task
    elif kind < 0.95:
        outcome = await one(embed(stub, make, dice.uniform(0.001, 0.03)), Outcome(0, 0.0))
    else:
        numbered = ((n, marked(n, tokens)) for n in range(dice.randint(1, 64)))
        streamed = await stream(stub, numbered)
        outcome = Outcome(0, 0.0, code=next(iter(set(one.code for one in streamed.all)), "OK"))
    found.outcomes[f"{outcome.code} {outcome.reason}".strip()] += 1
