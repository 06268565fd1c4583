"""Searches for the highest rate: geometric steps, then bisection. A function given to it runs the steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from gemwire_bench.run import Step, rounded

Run = Callable[[float], Step]
"""Runs a step at a rate."""
Passes = Callable[[Step], bool]


@dataclass(frozen=True, slots=True)
class Sweep:
    """`growth` is the factor of the geometric steps; `most_steps` bounds each search.

    `bisections` is how often the gap between the last rate that passes and the first that fails is halved.
    The search does not go below `lowest`, where a step has too few calls to show anything.
    """

    start: float
    growth: float = 1.6
    bisections: int = 4
    most_steps: int = 20
    lowest: float = 0.0

    def __post_init__(self) -> None:
        if not (self.start > 0 and self.growth > 1 and self.bisections >= 0):
            raise ValueError("a sweep starts above 0 and grows by more than 1")

    def search(self, steps: dict[float, Step], run: Run, passes: Passes) -> float | None:
        """The highest rate that passes, None if none does; adds to `steps`, and runs no rate twice.

        If the start does not pass, the search goes down from it by the same factor.
        """

        def at(rate: float) -> bool:
            if rate not in steps:
                steps[rate] = run(rate)
            return passes(steps[rate])

        low, high = None, None
        rate = rounded(self.start)
        for _ in range(self.most_steps):
            if at(rate):
                low = rate
                if high is not None:
                    break
                rate = rounded(rate * self.growth)
            else:
                high = rate
                if low is not None:
                    break
                rate = rounded(rate / self.growth)
            if rate in (low, high) or rate < min(self.lowest, self.start):
                break
        if low is None or high is None:
            return low
        for _ in range(self.bisections):
            middle = rounded(math.sqrt(low * high))
            if middle in (low, high):
                break
            low, high = (middle, high) if at(middle) else (low, middle)
        return low
