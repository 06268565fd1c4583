"""Compares two results: ratios with bootstrap intervals.

The bootstrap draws whole seconds, not samples: within a second samples depend on each other, and drawing
single samples would make the intervals too narrow.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemwire_bench.records import P999_SAMPLES, counts
from gemwire_bench.result import joined, rate

DRAWS = 1000
SEED = 0
RANKS = (50.0, 90.0, 99.0, 99.9)
LEAST_SECONDS = 5

Result = dict[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of both results at one rate, and the ratio after : before.

    `interval` is the ratio's 95 % interval, None where there are too few seconds or samples for one.
    """

    rate: str
    figure: str
    before: float
    after: float
    ratio: float
    interval: tuple[float, float] | None

    @property
    def differs(self) -> bool:
        return self.interval is not None and not self.interval[0] <= 1 <= self.interval[1]


def compare(before: Result, after: Result) -> list[Compared]:
    """Every figure of the rates that both results have; ValueError if they have none in common."""
    theirs = {rate(step): step for step in after["steps"]}
    pairs = [(step, theirs[rate(step)]) for step in before["steps"] if rate(step) in theirs]
    if not pairs:
        raise ValueError("the results have no rate in common")
    return [one for mine, other in pairs for one in _compare_steps(mine, other)]


def _compare_steps(before: Result, after: Result) -> list[Compared]:
    rng = np.random.default_rng(SEED)
    sides = [_Seconds(before), _Seconds(after)]
    enough = all(side.count >= LEAST_SECONDS for side in sides)
    draws = [side.draw(rng) if enough else None for side in sides]
    found = []
    for rank in RANKS:
        if rank > 99 and min(side.total for side in sides) < P999_SAMPLES:
            continue
        if not all(side.total for side in sides):
            continue
        first, second = (side.percentile(rank) for side in sides)
        drawn = [
            side.percentiles(rank, weights)
            for side, weights in zip(sides, draws, strict=True)
            if weights is not None
        ]
        found.append(_compared(before, f"p{rank:g} ms", first / 1e3, second / 1e3, drawn))
    first, second = (side.total / side.count for side in sides)
    drawn = [
        side.rates(weights)
        for side, weights in zip(sides, draws, strict=True)
        if weights is not None
    ]
    return [*found, _compared(before, "ok /s", first, second, drawn)]


def _compared(
    step: Result, name: str, first: float, second: float, drawn: list[Floats]
) -> Compared:
    interval = None
    if drawn and first > 0 and (drawn[0] > 0).all():
        low, high = np.percentile(drawn[1] / drawn[0], [2.5, 97.5])
        interval = (float(low), float(high))
    ratio = second / first if first else float("nan")
    return Compared(rate(step), name, first, second, ratio, interval)


class _Seconds:
    """The latencies of a step, as counts [seconds, values]."""

    def __init__(self, step: Result) -> None:
        self.count = max(int(step["seconds"]), 1)
        rows = []
        for second in range(self.count):
            rows.append(counts(joined(step["by_second"].get(str(second), []), "latency")))
        self.values = np.unique(np.concatenate([values for values, _ in rows])).astype(float)
        self.counts = np.zeros((self.count, len(self.values)))
        for row, (values, found) in zip(self.counts, rows, strict=True):
            row[np.searchsorted(self.values, values)] = found
        self.total = int(self.counts.sum())

    def draw(self, rng: np.random.Generator) -> Floats:
        """How often each second is drawn, [draws, seconds]."""
        return rng.multinomial(self.count, np.full(self.count, 1 / self.count), DRAWS).astype(float)

    def percentile(self, rank: float) -> float:
        return float(self.percentiles(rank, np.ones((1, self.count)))[0])

    def percentiles(self, rank: float, weights: Floats) -> Floats:
        """The percentile of each draw, by bisection: the least value with enough samples up to it."""
        below = np.cumsum(self.counts, axis=1)
        needed = np.ceil(weights @ below[:, -1] * rank / 100)
        low = np.zeros(len(weights), np.int64)
        high = np.full(len(weights), len(self.values) - 1)
        while (low < high).any():
            middle = (low + high) // 2
            enough = np.einsum("ds,sd->d", weights, below[:, middle]) >= needed
            low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
        found: Floats = self.values[low]
        return found

    def rates(self, weights: Floats) -> Floats:
        found: Floats = weights @ self.counts.sum(axis=1) / self.count
        return found


def table(found: list[Compared]) -> str:
    """Lines for a terminal; a star where the interval leaves no room for "the same"."""
    lines = [f"{'':12} {'':8} {'before':>12} {'after':>12} {'ratio':>7}  95 % interval"]
    for one in found:
        interval = "too short for one"
        if one.interval is not None:
            low, high = one.interval
            interval = f"{low:.3f} to {high:.3f}{' *' if one.differs else ''}"
        figures = f"{one.before:12,.2f} {one.after:12,.2f} {one.ratio:7.3f}"
        lines.append(f"{one.rate:12} {one.figure:8} {figures}  {interval}")
    return "\n".join(lines)
