"""The samples of a step in HDR histograms, one for each class, code and phase: whole, and by second.

Histograms are in microseconds, 1 us to 60 s with three digits; joining them is exact.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from gemwire_bench.samples import CODES, Rows

LOWEST, HIGHEST, DIGITS = 1, 60_000_000, 3
# latency: from when the call was due; service: from when it was sent; lag: from due until the client's
# turn; credit: from there until a stream had credit; queue, compute and server: as the server reports.
PHASES = ("latency", "service", "lag", "credit", "queue", "compute", "server")
# These phases have a histogram for each second, too.
TIMED = ("latency", "queue")
P999_SAMPLES = 10_000
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


def new_histogram() -> Any:
    return HdrHistogram(LOWEST, HIGHEST, DIGITS)


def decoded(blob: str) -> Any:
    return HdrHistogram.decode(blob)


def encoded(histogram: Any) -> str:
    blob: bytes = histogram.encode()
    return blob.decode("ascii")


def record(histogram: Any, micros: NDArray[np.int64]) -> None:
    values, counts = np.unique(np.clip(micros, 0, HIGHEST), return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)


def counts(histogram: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Values in microseconds, ascending, and how often each was recorded."""
    every = np.frombuffer(histogram.counts, np.int64)  # the library's iterator takes 20 ms
    recorded = np.flatnonzero(every)
    values = [
        histogram.get_highest_equivalent_value(histogram.get_value_from_index(index))
        for index in recorded.tolist()
    ]
    return np.array(values, np.int64), every[recorded]


def within(histogram: Any, micros: float) -> int:
    """How many samples are at most `micros`, to the histogram's digits."""
    values, found = counts(histogram)
    return int(found[values <= micros * (1 + 10.0**-DIGITS)].sum())


def percentile(histogram: Any, rank: float) -> float | None:
    """Microseconds; None if there are too few samples for that rank to mean anything."""
    needed = P999_SAMPLES if rank > 99 else 1
    if histogram.get_total_count() < needed:
        return None
    return float(histogram.get_value_at_percentile(rank))


@dataclass(frozen=True, slots=True)
class Key:
    traffic: str
    code: str
    phase: str


@dataclass
class Records:
    """The samples of one step. Those due before `warm_up` seconds are left out, whenever they end.

    `counts` has, by class and code: samples, their texts, the texts that got vectors, and the tokens.
    """

    classes: tuple[str, ...]
    warm_up: float
    whole: dict[Key, Any] = field(default_factory=dict)
    seconds: dict[int, dict[Key, Any]] = field(default_factory=dict)
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(self, rows: Rows) -> None:
        """Adds rows of a worker. A sample belongs to the second it was due in, after the warm-up."""
        rows = rows[rows["due"] >= round(self.warm_up * 1e9)]
        for kind, code in sorted(
            set(zip(rows["kind"].tolist(), rows["code"].tolist(), strict=True))
        ):
            some = rows[(rows["kind"] == kind) & (rows["code"] == code)]
            self._add_alike(some, self.classes[kind], CODES[code])

    def _add_alike(self, rows: Rows, traffic: str, code: str) -> None:
        self.counts[traffic, code, "samples"] += len(rows)
        for name, column in (("texts", "texts"), ("good", "good"), ("tokens", "tokens")):
            self.counts[traffic, code, name] += int(rows[column].sum())
        second = (rows["due"] - round(self.warm_up * 1e9)) // 1_000_000_000
        for phase, nanos in _phases(rows).items():
            key = Key(traffic, code, phase)
            reported = nanos >= 0
            if not reported.any():
                continue
            micros = nanos // 1000
            record(self._histogram(self.whole, key), micros[reported])
            if phase in TIMED:
                for one in np.unique(second[reported]).tolist():
                    of_second = self.seconds.setdefault(int(one), {})
                    record(self._histogram(of_second, key), micros[reported & (second == one)])

    def join(self, other: "Records") -> None:
        """Adds the samples of another step of the same classes, exactly."""
        self.counts.update(other.counts)
        parts = [(self.whole, other.whole)]
        parts += [
            (self.seconds.setdefault(second, {}), theirs)
            for second, theirs in other.seconds.items()
        ]
        for mine, theirs in parts:
            for key, histogram in theirs.items():
                self._histogram(mine, key).add(histogram)

    def histogram(self, phase: str, *, traffic: str | None = None, code: str | None = "OK") -> Any:
        """The histogram of one class or all, and of one code or all; empty if there are no samples."""
        return joined(self.whole, phase, traffic, code)

    def by_second(self, phase: str, traffic: str | None = None) -> Iterator[tuple[int, Any]]:
        """The histograms of OK samples by second, in order."""
        for second in sorted(self.seconds):
            yield second, joined(self.seconds[second], phase, traffic, "OK")

    def count(self, what: str, *, traffic: str | None = None, code: str | None = None) -> int:
        """The number of "samples", "texts", "good" texts or "tokens"."""
        return sum(
            number
            for (of_class, of_code, name), number in self.counts.items()
            if name == what
            and (traffic is None or of_class == traffic)
            and (code is None or of_code == code)
        )

    @staticmethod
    def _histogram(histograms: dict[Key, Any], key: Key) -> Any:
        if key not in histograms:
            histograms[key] = new_histogram()
        return histograms[key]


def joined(histograms: dict[Key, Any], phase: str, traffic: str | None, code: str | None) -> Any:
    """One histogram of all samples that match."""
    whole = new_histogram()
    for key, histogram in histograms.items():
        if (
            key.phase == phase
            and (traffic is None or key.traffic == traffic)
            and (code is None or key.code == code)
        ):
            whole.add(histogram)
    return whole


def _phases(rows: Rows) -> dict[str, NDArray[np.int64]]:
    """Nanoseconds of each phase; negative where the server reported none."""
    return {
        "latency": np.maximum(rows["ended"] - rows["due"], 0),
        "service": np.maximum(rows["ended"] - rows["sent"], 0),
        "lag": np.maximum(rows["begun"] - rows["due"], 0),
        "credit": np.maximum(rows["sent"] - rows["begun"], 0),
        "queue": rows["queue"],
        "compute": rows["compute"],
        "server": rows["server"],
    }
