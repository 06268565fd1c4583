"""Which texts are computed next. Pure: plain data and an injected clock; no threads, no model.

There is no timer and no fixed batch: whatever waits when the device comes free is the next batch, up to
the token budget. Higher priority goes first; among equals the flows (calls, streams) take turns by
tokens, so that a query does not wait behind all of a bulk job. Turns are those of start-time fair
queueing (Goyal, Vin, Cheng 1997): a text's tag is where its flow's last text ended, or the tag that is
served now if that is later, and the lowest tag is next.
"""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gemwire_server.errors import Expired, GemwireError, Overloaded
from gemwire_server.packing import TokenIds

REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
"""Reason of Overloaded where waiting does not help: the request alone is over the queue's limit."""


@dataclass(slots=True, eq=False)
class Flow:
    """What takes turns with others: a call, or a stream with all it sends. `ends` has, by priority,
    the tag after its last text."""

    ends: dict[int, int] = field(default_factory=dict)


class Owner(Protocol):
    """What a text belongs to: its deadline, whether it is still wanted, and whose turn it takes."""

    deadline: float | None
    cancelled: bool
    flow: Flow


@dataclass(slots=True, eq=False)
class Item:
    """One text in the queue. `index` is its place in its owner's call."""

    owner: Owner
    index: int
    input_ids: TokenIds
    queued_at: float = field(default=0.0)


class Scheduler:
    """A queue of texts, bounded in tokens.

    Not thread-safe: its one user holds a lock. `clock` is monotonic seconds, the scale of deadlines.
    """

    def __init__(
        self, *, max_batch_tokens: int, max_queue_tokens: int, clock: Callable[[], float]
    ) -> None:
        self.max_batch_tokens = max_batch_tokens
        self.max_queue_tokens = max_queue_tokens
        self.queued_tokens = 0
        self._clock = clock
        self._heap: list[tuple[int, int, int, Item]] = []  # -priority, tag, arrival
        # Of the text taken last, by priority: what a higher one runs through must not age a lower one.
        self._tags: dict[int, int] = defaultdict(int)
        self._arrivals = itertools.count()
        self._token_rate: float | None = None  # tokens a second, of recent steps

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, items: Sequence[Item], priority: int = 0) -> None:
        """Queues all the items, or raises Overloaded and queues none."""
        tokens = sum(len(item.input_ids) for item in items)
        if tokens > self.max_queue_tokens:
            raise self._overloaded(
                REQUEST_TOO_LARGE,
                f"{tokens} tokens are more than the queue takes: send fewer texts at once",
            )
        if self.queued_tokens + tokens > self.max_queue_tokens:
            raise self._overloaded("QUEUE_FULL", f"no room for {tokens} tokens")
        now = self._clock()
        for item in items:
            item.queued_at = now
            flow = item.owner.flow
            tag = max(self._tags[priority], flow.ends.get(priority, 0))
            flow.ends[priority] = tag + len(item.input_ids)
            heapq.heappush(self._heap, (-priority, tag, next(self._arrivals), item))
        self.queued_tokens += tokens

    def check_room(self, coming: int, guess: int) -> None:
        """Raises Overloaded if `guess` more tokens, behind `coming` that are not queued yet, will hardly
        fit. What has the queue for itself is let through: a guess must not refuse what might fit."""
        ahead = self.queued_tokens + coming
        if ahead and ahead + guess > self.max_queue_tokens:
            raise self._overloaded("QUEUE_FULL", f"no room for about {guess} tokens")

    def _overloaded(self, reason: str, message: str) -> Overloaded:
        return Overloaded(
            reason,
            f"{message}; {self.queued_tokens} of {self.max_queue_tokens} tokens wait",
            retry_after=self.drain_seconds(),
            queued_tokens=self.queued_tokens,
            max_queue_tokens=self.max_queue_tokens,
        )

    def drain_seconds(self) -> float:
        """How long what waits now will take, as far as recent steps tell; at least 0.1 s."""
        rate = self._token_rate or self.max_batch_tokens  # one step a second, until one is measured
        return max(0.1, self.queued_tokens / rate)

    def next_batch(self) -> tuple[list[Item], list[Item]]:
        """(texts to compute now, texts whose deadline has passed), both removed from the queue.

        A text longer than the budget is computed alone. Cancelled texts vanish.
        """
        batch: list[Item] = []
        expired: list[Item] = []
        room = self.max_batch_tokens
        while self._heap:
            negative, tag, _, item = self._heap[0]
            size = len(item.input_ids)
            if is_live(item, self._clock()):
                if batch and size > room:
                    break
                batch.append(item)
                room -= size
            elif not item.owner.cancelled:
                expired.append(item)
            heapq.heappop(self._heap)
            self._tags[-negative] = max(self._tags[-negative], tag)
            self.queued_tokens -= size
        return batch, expired

    def purge(self) -> list[Item]:
        """Removes what is cancelled or expired, so that it holds no room; returns the expired."""
        now = self._clock()
        dead = [entry[-1] for entry in self._heap if not is_live(entry[-1], now)]
        if dead:
            self._heap = [entry for entry in self._heap if is_live(entry[-1], now)]
            heapq.heapify(self._heap)
            self.queued_tokens -= sum(len(item.input_ids) for item in dead)
        return [item for item in dead if not item.owner.cancelled]

    def clear(self) -> list[Item]:
        """Removes and returns everything."""
        items = [entry[-1] for entry in self._heap]
        self._heap.clear()
        self.queued_tokens = 0
        return items

    def observe(self, tokens: int, seconds: float) -> None:
        """Learns the token rate of a step."""
        rate = tokens / max(seconds, 1e-6)
        self._token_rate = rate if self._token_rate is None else 0.8 * self._token_rate + 0.2 * rate


def is_live(item: Item, now: float) -> bool:
    """Whether somebody still waits for this text."""
    owner = item.owner
    return not owner.cancelled and (owner.deadline is None or now < owner.deadline)


def expiry() -> GemwireError:
    return Expired("DEADLINE_EXCEEDED", "the deadline passed while the text waited; not computed")
