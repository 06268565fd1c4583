"""Who is next among many: start-time fair queueing (Goyal, Vin, Cheng 1997), in tokens. Pure.

A child's tag is where its last text ended, or the tag that is served now if that is later; the lowest tag
is next. So a child that was silent is next at once, gets its share while it stays, and saves up nothing.
"""

import heapq
import itertools

REMEMBERED = 1024


class Turns:
    """Turns of the children that have something waiting, named by integers."""

    def __init__(self) -> None:
        self._now = 0
        self._tags: dict[int, tuple[int, int]] = {}  # tag and arrival
        self._ends: dict[int, int] = {}  # of children that wait for nothing now
        # Tag, arrival, child; stale where the child's are others by now.
        self._heap: list[tuple[int, int, int]] = []
        self._arrivals = itertools.count()

    def __len__(self) -> int:
        return len(self._tags)

    def __contains__(self, child: int) -> bool:
        return child in self._tags

    def join(self, child: int) -> None:
        """The child has something waiting from now on."""
        if child not in self._tags:
            self._set(child, max(self._now, self._ends.pop(child, 0)))

    def first(self) -> int:
        """Whose turn it is. There must be a child."""
        while True:
            tag, arrival, child = self._heap[0]
            if self._tags.get(child) == (tag, arrival):
                return child
            heapq.heappop(self._heap)

    def take(self, child: int, tokens: int) -> None:
        """The child, whose turn it is, takes so much of it."""
        self._now = self._tags[child][0]
        self._set(child, self._now + tokens)

    def leave(self, child: int) -> None:
        """The child has nothing waiting any more."""
        end, _ = self._tags.pop(child)
        if not self._tags:  # everybody begins anew
            self._ends.clear()
            self._heap.clear()
            self._now = max(self._now, end)
        elif end > self._now:
            if len(self._ends) >= max(REMEMBERED, 2 * len(self._tags)):
                self._forget()
            self._ends[child] = end

    def _forget(self) -> None:
        """Who ended in the past begins anew in any case; who does not gains one text by being forgotten."""
        self._ends = {child: end for child, end in self._ends.items() if end > self._now}
        if len(self._ends) > REMEMBERED // 2:
            self._ends.clear()

    def _set(self, child: int, tag: int) -> None:
        arrival = next(self._arrivals)
        self._tags[child] = tag, arrival
        heapq.heappush(self._heap, (tag, arrival, child))
        if len(self._heap) > REMEMBERED + 4 * len(self._tags):
            self._heap = [(*tagged, child) for child, tagged in self._tags.items()]
            heapq.heapify(self._heap)
