"""The device's throughput, learned from its steps, and how long it stays busy. Pure."""

from collections import deque
from collections.abc import Callable


class Throughput:
    """`rate` is in tokens a second of recent steps; None before the first that was half full."""

    def __init__(self, *, full_step: int, clock: Callable[[], float]) -> None:
        """`full_step` is in tokens."""
        self.rate: float | None = None
        self._full_step = full_step
        self._clock = clock
        self._under_way: deque[int] = deque()  # tokens of steps, in the order they end
        self._since = 0.0  # the time at which the first of them had the device to itself

    def begun(self, tokens: int) -> None:
        """A step of so many tokens begins, behind those under way."""
        if not self._under_way:
            self._since = self._clock()
        self._under_way.append(tokens)

    def busy_seconds(self) -> float:
        """Seconds until the steps under way end, by the rate; 0 while there is no rate."""
        if not self._under_way or self.rate is None:
            return 0.0
        first = self._under_way[0] / self.rate - (self._clock() - self._since)
        return max(0.0, first) + (sum(self._under_way) - self._under_way[0]) / self.rate

    def failed(self) -> None:
        """The first of the steps under way ended without vectors; nothing is learned from it."""
        self._end_first()

    def ended(self, tokens: int, seconds: float) -> None:
        """The first of the steps under way was computed, in so many seconds; the rate learns from it.

        Steps that are half full count, because a queue is computed in full steps. A smaller step has a
        lower rate and can only raise the known one. A step that took strangely long, or no time because it
        had ended before the engine looked, moves the rate no more than half or twice the rate would.
        """
        self._end_first()
        rate, known = tokens / max(seconds, 1e-6), self.rate
        full = 2 * tokens >= self._full_step
        if known is None:
            self.rate = rate if full else None
        elif full or rate > known:
            self.rate = 0.8 * known + 0.2 * min(max(rate, known / 2), 2 * known)

    def _end_first(self) -> None:
        if self._under_way:
            self._under_way.popleft()
        self._since = self._clock()
