"""The schedule of a run: which call is sent when, made before the run from a seed alone. Pure.

Arrivals of a class, at a rate in calls a second:

    poisson               independent calls
    constant              evenly
    gamma:CV              gaps with that coefficient of variation: 1 is poisson, more is burstier
    bursts:ON:OFF         poisson within ON seconds, then OFF seconds of nothing; the mean rate is kept
    ramp:FROM:TO          poisson, from FROM times the rate to TO times, linearly
    trace:FILE            a call a line of JSON: {"at": seconds, "tokens": n or [n, …], "task": …,
                          "deadline": seconds}, all but "at" optional; the rate is the file's own
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gemwire_bench import lengths
from gemwire_bench.files import read_lines
from gemwire_bench.mix import LONGEST_SECONDS, TrafficClass
from gemwire_client.requests import TASKS

NANOS = 1_000_000_000
MOST_CALLS = 20_000_000
LONGEST_RUN = 10 * 86_400.0  # seconds
MOST_VARIATION, MOST_RAMP = 100.0, 1000.0
TASK_NUMBERS = [None, *TASKS]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Calls in order. Times are in nanoseconds from the run's start.

    Call i is of class `kind[i]`, is due at `at[i]`, must be answered `deadline[i]` later, and has the texts
    `first[i]:first[i + 1]`; text j has `tokens[j]` tokens from place `place[j]` of the source of text.
    """

    at: NDArray[np.int64]
    kind: NDArray[np.int64]
    task: NDArray[np.int64]
    deadline: NDArray[np.int64]
    first: NDArray[np.int64]
    tokens: NDArray[np.int64]
    place: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at)

    def digest(self) -> str:
        """A digest that two schedules share if they agree bit by bit."""
        found = hashlib.sha256()
        for one in fields(self):
            found.update(getattr(self, one.name).astype("<i8").tobytes())
        return found.hexdigest()[:16]

    def texts(self) -> NDArray[np.int64]:
        """Texts of each call."""
        return np.diff(self.first)

    def take(self, calls: NDArray[np.int64]) -> "Schedule":
        """Some of the calls, in the order given."""
        counts = self.texts()[calls]
        first = np.concatenate([[0], np.cumsum(counts)])
        chosen = np.repeat(self.first[calls] - first[:-1], counts) + np.arange(first[-1])
        return Schedule(
            self.at[calls],
            self.kind[calls],
            self.task[calls],
            self.deadline[calls],
            first,
            self.tokens[chosen],
            self.place[chosen],
        )

    def part(self, worker: int, workers: int) -> "Schedule":
        """The calls of one of several processes, which take the calls in turn."""
        return self.take(np.arange(worker, len(self), workers))


def make(classes: Sequence[TrafficClass], *, rate: float, seconds: float, seed: int) -> Schedule:
    """The calls of `seconds`, `rate` a second together. The same arguments make the same bits.

    Each class draws from its own numbers, so that one class does not depend on the others.
    Raises ValueError for a rate or arrivals that cannot be, OSError for a file.
    """
    if not (rate > 0 and seconds > 0) or rate * seconds > MOST_CALLS:
        raise ValueError(f"{rate:g} calls/s for {seconds:g} s: must be 1 to {MOST_CALLS:,} calls")
    shares = sum(one.share for one in classes)
    parts = [
        _of_class(one, number, rate * one.share / shares, seconds, seed)
        for number, one in enumerate(classes)
    ]
    joined = _join(parts)
    if not len(joined):
        raise ValueError(f"no call within {seconds:g} s at {rate:g} calls/s")
    return joined.take(np.argsort(joined.at, kind="stable"))


def _join(parts: Sequence[Schedule]) -> Schedule:
    counts = np.concatenate([one.texts() for one in parts])
    joined = {
        one.name: np.concatenate([getattr(part, one.name) for part in parts])
        for one in fields(Schedule)
        if one.name != "first"
    }
    return Schedule(first=np.concatenate([[0], np.cumsum(counts)]), **joined)


def _of_class(one: TrafficClass, number: int, rate: float, seconds: float, seed: int) -> Schedule:
    rng = np.random.default_rng([seed, number])
    name, _, rest = one.arrivals.partition(":")
    if name == "trace":
        return _trace(Path(rest), one, number, seconds, rng)
    times = arrivals(one.arrivals, rate, seconds, rng)
    calls = len(times)
    counts = lengths.parse(one.texts)(rng, calls)
    texts = int(counts.sum())
    return Schedule(
        at=np.rint(times * NANOS).astype(np.int64),
        kind=np.full(calls, number),
        task=np.full(calls, TASK_NUMBERS.index(one.task)),
        deadline=np.full(calls, round(one.deadline * NANOS)),
        first=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        tokens=lengths.parse(one.tokens)(rng, texts).astype(np.int64),
        place=rng.integers(0, 1 << 31, texts),
    )


def arrivals(spec: str, rate: float, seconds: float, rng: np.random.Generator) -> Floats:
    """Times of calls within `seconds`, ascending. Raises ValueError for an unknown kind of arrivals."""
    try:
        match spec.split(":"):
            case ["poisson"]:
                return _renewals(lambda n: rng.exponential(1 / rate, n), rate, seconds)
            case ["constant"]:
                return np.arange(0, seconds, 1 / rate)
            case ["gamma", cv]:
                shape = 1 / _within(float(cv), 1 / MOST_VARIATION, MOST_VARIATION) ** 2
                return _renewals(lambda n: rng.gamma(shape, 1 / (rate * shape), n), rate, seconds)
            case ["bursts", on, off]:
                return _bursts(float(on), float(off), rate, seconds, rng)
            case ["ramp", start, end]:
                return _ramp(float(start), float(end), rate, seconds, rng)
    except (ValueError, ZeroDivisionError):
        pass
    raise ValueError(
        f"{spec!r} is no way to arrive: poisson, constant, gamma:CV, bursts:ON:OFF, ramp:FROM:TO or "
        "trace:FILE"
    )


def check_arrivals(spec: str) -> None:
    """Raises ValueError for an unknown kind of arrivals, whatever the rate; a trace is not opened."""
    if not spec.startswith("trace:"):
        arrivals(spec, 1.0, 1.0, np.random.default_rng(0))


def _within(value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise ValueError
    return value


def _renewals(gaps: Callable[[int], Floats], rate: float, seconds: float) -> Floats:
    """Sums of gaps up to the end."""
    times = np.zeros(0)
    block = int(rate * seconds * 1.1) + 100
    while not len(times) or times[-1] < seconds:
        last = times[-1] if len(times) else 0.0
        times = np.concatenate([times, last + np.cumsum(gaps(block))])
    return times[times < seconds]


def _bursts(on: float, off: float, rate: float, seconds: float, rng: np.random.Generator) -> Floats:
    _within(on, 1e-3, LONGEST_RUN), _within(off, 0.0, LONGEST_RUN)
    if rate * (on + off) > MOST_CALLS:
        raise ValueError
    # Drawn without the pauses; then the pauses are put in.
    busy = seconds * on / (on + off) + on
    inner = rate * (on + off) / on
    times = _renewals(lambda n: rng.exponential(1 / inner, n), inner, busy)
    times = times + np.floor(times / on) * off
    return times[times < seconds]


def _ramp(
    start: float, end: float, rate: float, seconds: float, rng: np.random.Generator
) -> Floats:
    _within(start, 0.0, MOST_RAMP), _within(end, 0.0, MOST_RAMP)
    if not 0 < rate * seconds * (start + end) / 2 <= MOST_CALLS:
        raise ValueError
    calls = rate * seconds * (start + end) / 2
    # One call comes with each unit of work; the rate's integral says when so much work was due.
    work = _renewals(lambda n: rng.exponential(1.0, n), 1.0, calls) / (rate * seconds)
    slope = end - start
    if slope == 0:
        return work / start * seconds
    return (np.sqrt(start**2 + 2 * slope * work) - start) / slope * seconds


def _trace(
    path: Path, one: TrafficClass, number: int, seconds: float, rng: np.random.Generator
) -> Schedule:
    at, task, deadline, counts, tokens = [], [], [], [], []
    draw = lengths.parse(one.tokens)
    for line_number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            call = json.loads(line)
            if not isinstance(call, dict):
                raise ValueError
            unknown = set(call) - {"at", "tokens", "task", "deadline"}
            drawn = call.get("tokens", draw(rng, 1).tolist())
            texts = drawn if isinstance(drawn, list) else [drawn]
            wait = float(call.get("deadline", one.deadline))
            good = texts and all(isinstance(n, int) and 1 <= n <= lengths.LARGEST for n in texts)
            if (
                unknown
                or not good
                or not 0 < wait <= LONGEST_SECONDS
                or not 0 <= call["at"] <= LONGEST_RUN
            ):
                raise ValueError
            at.append(round(call["at"] * NANOS))
            task.append(TASK_NUMBERS.index(call.get("task", one.task)))
            deadline.append(round(wait * NANOS))
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ValueError(
                f'{path}, line {line_number}: must be like {{"at": 0.25, "tokens": 40}}, with "task" and '
                '"deadline" (seconds) if need be'
            ) from None
        if one.mode == "unary" and len(texts) > 1:
            raise ValueError(f"{path}, line {line_number}: several texts, but mode=unary")
        counts.append(len(texts))
        tokens += texts
    whole = Schedule(
        at=np.array(at, np.int64),
        kind=np.full(len(at), number),
        task=np.array(task, np.int64),
        deadline=np.array(deadline, np.int64),
        first=np.concatenate([[0], np.cumsum(np.array(counts, np.int64))]),
        tokens=np.array(tokens, np.int64),
        place=rng.integers(0, 1 << 31, len(tokens)),
    )
    return whole.take(np.flatnonzero(whole.at < seconds * NANOS))
