"""Which texts are computed next. Pure: plain data and an injected clock; no threads, no model.

There is no timer and no fixed batch: whatever waits when the device comes free is the next batch, up to
the token budget. Callers take turns by tokens, so that a query does not wait behind somebody else's bulk
job; within a caller's share higher priority goes first, and among equals its flows (each stream one, all
unary calls one) take turns.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gemwire_server.errors import Expired, GemwireError, Overloaded
from gemwire_server.packing import TokenIds
from gemwire_server.turns import Turns

REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
"""Reason of Overloaded where waiting does not help: the request alone is over the queue's limit."""

# A caller may hold this many times what it leaves free (dynamic thresholds; Choudhury, Hahne 1998): alone
# four fifths of the queue, so that the next one finds room, two of them four ninths each, and so on.
SHARE_OF_FREE = 4
# Of the queue, what streams leave to unary calls.
INTERACTIVE_SHARE = 0.125


class Owner(Protocol):
    """What texts belong to: a call, or a part of a stream.

    `caller` and `flow` say whose turns it takes; `bulk` work leaves room to other work; `alone` is not
    to share a step.
    """

    @property
    def deadline(self) -> float | None: ...
    @property
    def priority(self) -> int: ...
    @property
    def caller(self) -> int: ...
    @property
    def flow(self) -> int: ...
    @property
    def bulk(self) -> bool: ...
    @property
    def alone(self) -> bool: ...


@dataclass(slots=True, eq=False)
class Item:
    """One text in the queue. `index` is its place in its owner's call."""

    owner: Owner
    index: int
    input_ids: TokenIds
    queued_at: float = field(default=0.0)


Dropped = tuple[Owner, list[int]]
"""An owner and the indices of those of its texts that were waiting."""


@dataclass(slots=True)
class _Waiting:
    """Of one owner: the indices of its texts that wait, and their tokens."""

    indices: set[int]
    tokens: int


@dataclass(slots=True)
class _Flow:
    items: deque[Item] = field(default_factory=deque)  # dropped ones too, until they are met
    tokens: int = 0
    dropped: int = 0


@dataclass(slots=True)
class _Class:
    """What a caller has waiting at one priority."""

    turns: Turns = field(default_factory=Turns)
    flows: dict[int, _Flow] = field(default_factory=dict)
    tokens: int = 0


@dataclass(slots=True)
class _Caller:
    classes: dict[int, _Class] = field(default_factory=dict)  # by priority
    tokens: int = 0


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
        self.token_rate: float | None = None
        """Tokens a second, of recent steps; None before the first."""
        self._clock = clock
        self._waiting: dict[Owner, _Waiting] = {}
        self._callers: dict[int, _Caller] = {}
        self._turns = Turns()
        self._deadlines: list[tuple[float, int, Owner]] = []
        self._arrivals = itertools.count()

    def __len__(self) -> int:
        """Owners with texts that wait."""
        return len(self._waiting)

    def add(self, owner: Owner, sequences: Sequence[TokenIds]) -> None:
        """Queues all the texts, or raises Overloaded and queues none. Once for each owner."""
        tokens = sum(map(len, sequences))
        self._admit(owner, tokens)
        now = self._clock()
        caller = self._callers.setdefault(owner.caller, _Caller())
        level = caller.classes.setdefault(owner.priority, _Class())
        flow = level.flows.setdefault(owner.flow, _Flow())
        flow.items.extend(Item(owner, i, ids, now) for i, ids in enumerate(sequences))
        self._waiting[owner] = _Waiting(set(range(len(sequences))), tokens)
        self._count(owner, tokens)
        self._turns.join(owner.caller)
        level.turns.join(owner.flow)
        if owner.deadline is not None:
            self._remember_deadline(owner.deadline, owner)

    def _admit(self, owner: Owner, tokens: int) -> None:
        total = self.max_queue_tokens
        if tokens > total:
            raise self._overloaded(
                REQUEST_TOO_LARGE,
                f"{tokens} tokens are more than the queue takes: send fewer texts at once",
            )
        if not self.queued_tokens:
            return  # what has the queue for itself is let through
        after = self.queued_tokens + tokens
        if after > total or (owner.bulk and after > total * (1 - INTERACTIVE_SHARE)):
            raise self._overloaded("QUEUE_FULL", f"no room for {tokens} tokens")
        caller = self._callers.get(owner.caller)
        if caller is not None and caller.tokens + tokens > SHARE_OF_FREE * (total - after):
            raise self._overloaded(
                "CALLER_QUEUE_FULL",
                f"{caller.tokens} tokens of this caller wait, and others need room: no room for {tokens}",
            )
        if owner.deadline is not None and not owner.bulk:
            wait, now = self.wait_seconds(owner, tokens), self._clock()
            if now < owner.deadline < now + wait:
                raise self._overloaded(
                    "DEADLINE_UNREACHABLE", f"it would wait about {wait:.3g} s, past its deadline"
                )

    def check_room(self, coming: int, guess: int, *, bulk: bool = False) -> None:
        """Raises Overloaded if `guess` more tokens, behind `coming` that are not queued yet, will hardly
        fit. What has the queue for itself is let through: a guess must not refuse what might fit."""
        ahead = self.queued_tokens + coming
        room = self.max_queue_tokens * (1 - INTERACTIVE_SHARE * bulk)
        if ahead and ahead + guess > room:
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
        rate = self.token_rate or self.max_batch_tokens  # one step a second, until one is measured
        return max(0.1, self.queued_tokens / rate)

    def wait_seconds(self, owner: Owner, tokens: int) -> float:
        """The least that fair turns promise: until so many more tokens of the owner's flow are computed.

        Nobody gets more than an equal share while the owner's flow waits, whoever has less is done
        sooner, and higher priority of the same caller goes first.
        """
        if self.token_rate is None:
            return 0.0
        own = tokens
        if (caller := self._callers.get(owner.caller)) is not None:
            if (level := caller.classes.get(owner.priority)) is not None:
                flow = level.flows.get(owner.flow)
                sharing = len(level.flows) + (flow is None)
                backlog = tokens + (flow.tokens if flow is not None else 0)
                own = min(level.tokens + tokens, sharing * backlog)
            own += sum(
                level.tokens
                for priority, level in caller.classes.items()
                if priority > owner.priority
            )
        callers = len(self._callers) + (caller is None)
        return min(self.queued_tokens + tokens, callers * own) / self.token_rate

    def next_batch(self) -> tuple[list[Item], list[Dropped]]:
        """(texts to compute now, texts whose deadline has passed), both removed from the queue.

        A text longer than the budget is computed alone.
        """
        expired = self.expire()
        batch: list[Item] = []
        room = self.max_batch_tokens
        while self._turns:
            caller_key = self._turns.first()
            caller = self._callers[caller_key]
            level = caller.classes[max(caller.classes)]
            flow_key = level.turns.first()
            flow = level.flows[flow_key]
            while not self._is_waiting(item := flow.items[0]):
                flow.items.popleft()
                flow.dropped -= 1
            size = len(item.input_ids)
            if batch and (size > room or item.owner.alone):
                break
            flow.items.popleft()
            batch.append(item)
            room = room - size if not item.owner.alone else 0
            self._turns.take(caller_key, size)
            level.turns.take(flow_key, size)
            waiting = self._waiting[item.owner]
            waiting.indices.discard(item.index)
            waiting.tokens -= size
            if not waiting.indices:
                del self._waiting[item.owner]
            self._count(item.owner, -size)
        return batch, expired

    def drop(self, owner: Owner) -> list[int]:
        """Removes what waits of the owner, so that it holds no room; returns the indices."""
        waiting = self._waiting.pop(owner, None)
        if waiting is None:
            return []
        flow = self._callers[owner.caller].classes[owner.priority].flows[owner.flow]
        flow.dropped += len(waiting.indices)
        if flow.dropped > 64 + len(flow.items) // 2:
            flow.items = deque(item for item in flow.items if self._is_waiting(item))
            flow.dropped = 0
        self._count(owner, -waiting.tokens)
        return sorted(waiting.indices)

    def expire(self) -> list[Dropped]:
        """Removes and returns the texts whose deadline has passed."""
        now, expired = self._clock(), []
        while self._deadlines and self._deadlines[0][0] <= now:
            owner = heapq.heappop(self._deadlines)[2]
            if indices := self.drop(owner):
                expired.append((owner, indices))
        return expired

    def clear(self) -> list[Dropped]:
        """Removes and returns everything."""
        return [(owner, self.drop(owner)) for owner in list(self._waiting)]

    def observe(self, tokens: int, seconds: float) -> None:
        """Learns the token rate of a step. A small step has a lower rate than the full ones that a queue
        is computed in: it can only raise what is known."""
        rate = tokens / max(seconds, 1e-6)
        if self.token_rate is None or (
            rate > self.token_rate and 2 * tokens < self.max_batch_tokens
        ):
            self.token_rate = rate
        elif 2 * tokens >= self.max_batch_tokens:
            self.token_rate = 0.8 * self.token_rate + 0.2 * rate

    def _is_waiting(self, item: Item) -> bool:
        waiting = self._waiting.get(item.owner)
        return waiting is not None and item.index in waiting.indices

    def _count(self, owner: Owner, tokens: int) -> None:
        """Tokens that came to wait, or no longer do; what has none left gives up its turn."""
        caller = self._callers[owner.caller]
        level = caller.classes[owner.priority]
        flow = level.flows[owner.flow]
        self.queued_tokens += tokens
        caller.tokens += tokens
        level.tokens += tokens
        flow.tokens += tokens
        if not flow.tokens:
            level.turns.leave(owner.flow)
            del level.flows[owner.flow]
        if not level.tokens:
            del caller.classes[owner.priority]
        if not caller.tokens:
            self._turns.leave(owner.caller)
            del self._callers[owner.caller]

    def _remember_deadline(self, deadline: float, owner: Owner) -> None:
        heapq.heappush(self._deadlines, (deadline, next(self._arrivals), owner))
        if len(self._deadlines) > 64 + 2 * len(self._waiting):
            self._deadlines = [entry for entry in self._deadlines if entry[2] in self._waiting]
            heapq.heapify(self._deadlines)


def expiry() -> GemwireError:
    return Expired("DEADLINE_EXCEEDED", "the deadline passed while the text waited; not computed")
