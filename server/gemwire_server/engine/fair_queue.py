"""Start-time fair queueing (Goyal, Vin, Cheng 1997), in tokens. Pure.

A child's tag is the end of its last text, or the tag that is served now if that is later; the lowest tag is
next. So a child that was silent is next at once, gets its share while it stays, and saves up nothing.
A child that is set aside keeps its tag, and is before the others again once it is brought back.
"""

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

REMEMBERED = 1024
# Among equal tags, a child that was not served yet is before one that was: else a newcomer waits for a
# round of all.
JOINED, SERVED = 0, 1
_Tag = tuple[int, int, int]  # start in tokens, JOINED or SERVED, arrival; no two are equal

K = TypeVar("K", bound=Hashable)


class FairQueue(Generic[K]):
    """Turns of the children that have something waiting. `K` names the children."""

    def __init__(self) -> None:
        self._now = 0
        self._tags: dict[K, _Tag] = {}
        self._ends: dict[K, int] = {}  # by child with nothing waiting
        self._heap: list[tuple[_Tag, K]] = []  # tag, child; stale where the child has a newer tag
        self._aside: set[K] = set()
        self._arrivals = itertools.count()

    def __len__(self) -> int:
        return len(self._tags)

    def __contains__(self, child: K) -> bool:
        return child in self._tags

    def join(self, child: K) -> None:
        """The child has something waiting from now on."""
        if child not in self._tags:
            self._set(child, max(self._now, self._ends.pop(child, 0)), JOINED)

    @property
    def has_turn(self) -> bool:
        """Whether there is a child that is not set aside."""
        return len(self._aside) < len(self._tags)

    def first(self) -> K:
        """The child whose turn it is, of those that are not set aside. There must be one."""
        while True:
            tag, child = self._heap[0]
            if self._tags.get(child) == tag and child not in self._aside:
                return child
            heapq.heappop(self._heap)

    def set_aside(self, child: K) -> None:
        """The child gets no turn until `bring_back`, and keeps its place."""
        self._aside.add(child)

    def bring_back(self) -> None:
        """The children that are set aside get turns again."""
        for child in self._aside:
            heapq.heappush(self._heap, (self._tags[child], child))
        self._aside.clear()

    def take(self, child: K, tokens: int) -> None:
        """The child, whose turn it is, is served a text of this length."""
        start = self._tags[child][0]
        self._now = max(self._now, start)  # a child that was set aside starts earlier
        self._set(child, start + tokens, SERVED)

    def leave(self, child: K) -> None:
        """The child has nothing waiting any more."""
        end = self._tags.pop(child)[0]
        self._aside.discard(child)
        if not self._tags:  # every child begins anew
            self._ends.clear()
            self._heap.clear()
            self._now = max(self._now, end)
        elif end > self._now:
            if len(self._ends) >= max(REMEMBERED, 2 * len(self._tags)):
                self._forget()
            self._ends[child] = end

    def _forget(self) -> None:
        """Drops ends in the past, where a child begins anew in any case. A child whose later end is dropped
        gains one text."""
        self._ends = {child: end for child, end in self._ends.items() if end > self._now}
        if len(self._ends) > REMEMBERED // 2:
            self._ends.clear()

    def _set(self, child: K, start: int, rank: int) -> None:
        self._tags[child] = tag = start, rank, next(self._arrivals)
        heapq.heappush(self._heap, (tag, child))
        if len(self._heap) > REMEMBERED + 4 * len(self._tags):
            self._heap = [(tag, child) for child, tag in self._tags.items()]
            heapq.heapify(self._heap)
