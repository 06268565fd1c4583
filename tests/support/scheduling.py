"""Owners, a clock and texts for tests of the scheduler."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from gemwire_server.engine import scheduler
from gemwire_server.engine.interface import Output
from gemwire_server.engine.packing import TokenIds
from gemwire_server.engine.scheduler import Item, Scheduler


@dataclass(eq=False)
class Owner:
    deadline: float | None = None
    priority: int = 0
    caller: int = 0
    flow: int = 0
    bulk: bool = False
    alone: bool = False
    output: Output = Output.UNIT


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def texts(*lengths: int) -> list[TokenIds]:
    return [np.zeros(length, np.int32) for length in lengths]


def lengths(items: Sequence[Item]) -> list[int]:
    return [len(item.input_ids) for item in items]


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index: 1 for equal shares, 1/n where one share is everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


@dataclass
class Recount:
    """The texts that must be in the queue, counted apart from the scheduler."""

    queue: Scheduler
    left: dict[scheduler.Owner, dict[int, int]] = field(default_factory=dict)  # tokens of each text

    def add(self, owner: scheduler.Owner, sizes: Sequence[int]) -> None:
        self.queue.add(owner, texts(*sizes))
        self.left[owner] = dict(enumerate(sizes))

    def take(self, owner: scheduler.Owner, indices: Sequence[int]) -> None:
        """Removes texts that have left the queue. Fails for one that was not in it."""
        for index in indices:
            del self.left[owner][index]
        if not self.left[owner]:
            del self.left[owner]

    def check(self) -> None:
        """Compares every count that the scheduler keeps."""
        queue = self.queue
        assert queue.queued_tokens == sum(sum(sizes.values()) for sizes in self.left.values())
        assert len(queue) == len(self.left)
        by_caller: dict[int, int] = {}
        by_flow: dict[tuple[int, int, tuple[int, Enum]], int] = {}
        for owner, sizes in self.left.items():
            by_caller[owner.caller] = by_caller.get(owner.caller, 0) + sum(sizes.values())
            key = owner.caller, owner.priority, (owner.flow, owner.output)
            by_flow[key] = by_flow.get(key, 0) + sum(sizes.values())
        callers = queue._callers
        assert {key: caller.tokens for key, caller in callers.items()} == by_caller
        assert {
            (key, priority, flow_key): flow.tokens
            for key, caller in callers.items()
            for priority, held in caller.priorities.items()
            for flow_key, flow in held.flows.items()
        } == by_flow
        assert len(queue._fair_queue) == len(by_caller)
