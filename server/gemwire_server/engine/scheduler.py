"""Chooses the texts of the next step. Pure: plain data and an injected clock; no threads, no model.

There is no timer and no fixed batch: the texts that wait when the device comes free are the next batch, up
to the token budget. Callers take turns by tokens, so that a query does not wait behind another caller's
bulk job. Within a caller, higher priority goes first; among equals its flows take turns. Each stream is a
flow, and all unary calls together are one, for each output.
"""

import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from gemwire_server.engine import admission
from gemwire_server.engine.admission import QueueState
from gemwire_server.engine.fair_queue import FairQueue
from gemwire_server.engine.packing import TokenIds
from gemwire_server.engine.throughput import Throughput

# The least time from the device to the caller's host.
DELIVERY_SECONDS = 0.005


class Owner(Protocol):
    """A call, or a part of a stream, that texts belong to.

    The texts take turns as `caller` and `flow`. `bulk` work leaves room for other work. `alone` texts share
    no step, and texts of different `output` share none.
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
    @property
    def output(self) -> Enum: ...


@dataclass(slots=True, eq=False)
class Item:
    """One text in the queue. `index` is its place in its owner's call."""

    owner: Owner
    index: int
    input_ids: TokenIds
    queued_at: float = field(default=0.0)


Dropped = tuple[Owner, list[int]]
"""An owner, and the indices of its texts that were waiting."""


@dataclass(slots=True)
class _Waiting:
    """The texts of one owner that wait, and their tokens."""

    items: deque[Item]
    tokens: int


@dataclass(slots=True)
class _Flow:
    # In order of arrival. Removing an owner from the middle costs nothing and leaves nothing behind.
    owners: OrderedDict[Owner, _Waiting] = field(default_factory=OrderedDict)
    tokens: int = 0


_FlowKey = tuple[int, Enum]
"""A flow and an output: a text does not wait behind one that it cannot share a step with."""


@dataclass(slots=True)
class _Priority:
    """The texts of one caller that wait at one priority."""

    fair_queue: FairQueue[_FlowKey] = field(default_factory=FairQueue)
    flows: dict[_FlowKey, _Flow] = field(default_factory=dict)
    tokens: int = 0


@dataclass(slots=True)
class _Caller:
    priorities: dict[int, _Priority] = field(default_factory=dict)  # by priority
    tokens: int = 0


class Scheduler:
    """A queue of texts, bounded in tokens.

    Not thread-safe: the engine holds a lock. `clock` gives monotonic seconds, the scale of deadlines.
    """

    def __init__(
        self, *, max_batch_tokens: int, max_queue_tokens: int, clock: Callable[[], float]
    ) -> None:
        self.max_batch_tokens = max_batch_tokens
        self.max_queue_tokens = max_queue_tokens
        self.queued_tokens = 0
        self._clock = clock
        self.throughput = Throughput(full_step=max_batch_tokens, clock=clock)
        """The engine reports the end of every step to it."""
        self._waiting: dict[Owner, _Waiting] = {}
        self._callers: dict[int, _Caller] = {}
        self._fair_queue = FairQueue[int]()
        self._deadlines: list[tuple[float, int, Owner]] = []
        self._arrivals = itertools.count()

    @property
    def token_rate(self) -> float | None:
        """Tokens a second of recent steps; None before the first that was half full."""
        return self.throughput.rate

    def __len__(self) -> int:
        """The number of owners with texts that wait."""
        return len(self._waiting)

    def add(self, owner: Owner, sequences: Sequence[TokenIds]) -> None:
        """Queues all the texts, or raises InvalidInput or Overloaded and queues none. Called once for each
        owner.

        Raises ValueError for a text without a token, or no text: neither could ever be computed.
        """
        lengths = [len(ids) for ids in sequences]
        if min(lengths, default=0) < 1:
            raise ValueError("every submission needs a text, and every text a token")
        tokens = sum(lengths)
        self._admit(owner, tokens)
        now = self._clock()
        caller = self._callers.setdefault(owner.caller, _Caller())
        priority = caller.priorities.setdefault(owner.priority, _Priority())
        flow_key = _flow_key(owner)
        flow = priority.flows.setdefault(flow_key, _Flow())
        waiting = _Waiting(
            deque(Item(owner, i, ids, now) for i, ids in enumerate(sequences)), tokens
        )
        self._waiting[owner] = flow.owners[owner] = waiting
        self._count(owner, tokens)
        self._fair_queue.join(owner.caller)
        priority.fair_queue.join(flow_key)
        if owner.deadline is not None:
            self._remember_deadline(owner.deadline, owner)

    def _admit(self, owner: Owner, tokens: int) -> None:
        admission.check_size(tokens, self.max_queue_tokens)
        queue = self._queue_state(owner.caller)
        if not self.queued_tokens:
            return  # a request with the queue to itself is let through
        queue.check_share(tokens, bulk=owner.bulk)
        if owner.deadline is None or owner.bulk or self.token_rate is None:
            return
        left = owner.deadline - self._clock()
        whole = self.throughput.busy_seconds() + (self.queued_tokens + tokens) / self.token_rate
        # Its exact wait costs a look at every caller, and is at most that of the whole queue.
        if admission.is_too_long(whole, left):
            queue.check_deadline(self.wait_seconds(owner, tokens), left)

    def check_room(
        self, coming: int, guess: int, *, caller: int, deadline: float | None = None
    ) -> None:
        """See `QueueState.check_room`."""
        left = None if deadline is None else deadline - self._clock()
        self._queue_state(caller).check_room(coming, guess, seconds_left=left)

    def _queue_state(self, caller: int) -> QueueState:
        held = self._callers.get(caller)
        return QueueState(
            queued_tokens=self.queued_tokens,
            max_queue_tokens=self.max_queue_tokens,
            caller_tokens=held.tokens if held is not None else 0,
            token_rate=self.token_rate or 0.0,
        )

    def wait_seconds(self, owner: Owner, tokens: int) -> float:
        """Seconds until so many more tokens of the owner's flow are computed, if nothing else comes; 0
        while no rate is known."""
        if self.token_rate is None:
            return 0.0
        same_flow, higher_priorities, other_flows = 0, 0, list[int]()
        if (caller := self._callers.get(owner.caller)) is not None:
            if (priority := caller.priorities.get(owner.priority)) is not None:
                flow = priority.flows.get(_flow_key(owner))
                same_flow = flow.tokens if flow is not None else 0
                other_flows = [
                    other.tokens for other in priority.flows.values() if other is not flow
                ]
            higher_priorities = sum(
                each.tokens for key, each in caller.priorities.items() if key > owner.priority
            )
        until_done = admission.tokens_until_done(
            tokens,
            same_flow=same_flow,
            other_flows=other_flows,
            higher_priorities=higher_priorities,
            other_callers=[each.tokens for each in self._callers.values() if each is not caller],
        )
        return self.throughput.busy_seconds() + admission.compute_seconds(
            until_done,
            waiting=self.queued_tokens + tokens,
            max_batch_tokens=self.max_batch_tokens,
            token_rate=self.token_rate,
        )

    def next_batch(self) -> tuple[list[Item], list[Dropped]]:
        """Removes from the queue and returns (texts to compute now, texts whose deadline has passed or will
        pass before the step is computed).

        A text longer than the budget is computed alone. Flows of another output than the first text's are
        set aside, and come first in the next batch: else two callers who take turns at different outputs
        would make a batch of every text.
        """
        expired = self.expire() + self._expire_hopeless()
        batch: list[Item] = []
        aside: set[FairQueue[_FlowKey]] = set()
        room = self.max_batch_tokens
        while room > 0 and self._fair_queue.has_turn:
            caller_key = self._fair_queue.first()
            caller = self._callers[caller_key]
            priority = caller.priorities[max(caller.priorities)]
            if not priority.fair_queue.has_turn:
                self._fair_queue.set_aside(caller_key)
                continue
            flow_key = priority.fair_queue.first()
            flow = priority.flows[flow_key]
            owner, waiting = next(iter(flow.owners.items()))
            if batch and owner.output is not batch[0].owner.output:
                priority.fair_queue.set_aside(flow_key)
                aside.add(priority.fair_queue)
                continue
            item = waiting.items[0]
            size = len(item.input_ids)
            if batch and (size > room or owner.alone):
                break
            batch.append(item)
            room = room - size if not owner.alone else 0
            self._fair_queue.take(caller_key, size)
            priority.fair_queue.take(flow_key, size)
            waiting.items.popleft()
            waiting.tokens -= size
            if not waiting.items:
                del self._waiting[owner], flow.owners[owner]
            self._count(owner, -size)
        self._fair_queue.bring_back()
        for fair_queue in aside:
            fair_queue.bring_back()
        if batch:
            self.throughput.begun(self.max_batch_tokens - room)
        return batch, expired

    def _expire_hopeless(self) -> list[Dropped]:
        """Removes texts that the next step would compute too late: an overloaded server that computes such
        texts does little else. Keeps the last owner: a wrong rate would else never be measured again."""
        hopeless: list[Dropped] = []
        if self.token_rate is None:
            return hopeless
        begin = self._clock() + self.throughput.busy_seconds() + DELIVERY_SECONDS
        while self._deadlines and len(self._waiting) > 1:
            step = min(self.queued_tokens, self.max_batch_tokens) / self.token_rate
            if self._deadlines[0][0] >= begin + step:
                break
            owner = heapq.heappop(self._deadlines)[2]
            if indices := self.drop(owner):
                hopeless.append((owner, indices))
        return hopeless

    def drop(self, owner: Owner) -> list[int]:
        """Removes the owner's waiting texts, so that they hold no room; returns their indices."""
        waiting = self._waiting.pop(owner, None)
        if waiting is None:
            return []
        del (
            self._callers[owner.caller]
            .priorities[owner.priority]
            .flows[_flow_key(owner)]
            .owners[owner]
        )
        self._count(owner, -waiting.tokens)
        return [item.index for item in waiting.items]

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

    def _count(self, owner: Owner, tokens: int) -> None:
        """Counts tokens that came or left. A flow, priority or caller with none left gives up its turn."""
        caller = self._callers[owner.caller]
        priority = caller.priorities[owner.priority]
        flow_key = _flow_key(owner)
        flow = priority.flows[flow_key]
        self.queued_tokens += tokens
        caller.tokens += tokens
        priority.tokens += tokens
        flow.tokens += tokens
        if not flow.tokens:
            priority.fair_queue.leave(flow_key)
            del priority.flows[flow_key]
        if not priority.tokens:
            del caller.priorities[owner.priority]
        if not caller.tokens:
            self._fair_queue.leave(owner.caller)
            del self._callers[owner.caller]

    def _remember_deadline(self, deadline: float, owner: Owner) -> None:
        heapq.heappush(self._deadlines, (deadline, next(self._arrivals), owner))
        if len(self._deadlines) > 64 + 2 * len(self._waiting):
            self._deadlines = [entry for entry in self._deadlines if entry[2] in self._waiting]
            heapq.heapify(self._deadlines)


def _flow_key(owner: Owner) -> _FlowKey:
    return owner.flow, owner.output
