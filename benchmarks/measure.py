"""Times contenders in turns: a machine that slows down slows all of them, and ratios stay."""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
# The last contender's threads may still spin, waiting for more work.
PAUSE = 0.1


def seconds(run: Callable[[], object], repeats: int = 1) -> float:
    """Returns the seconds of one run, the median of several."""
    time.sleep(PAUSE)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def turns(entries: Sequence[T], number: int) -> Iterator[T]:
    """Yields the contenders, from another start in each round, so that no contender always follows
    the same one.
    """
    first = number % len(entries)
    yield from entries[first:]
    yield from entries[:first]


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Returns the median of each round's ratio."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def keep(result: Mapping[str, Any], path: Path | None) -> None:
    """Writes the results so far, if there is a file for them, so that a run that is ended loses no more."""
    if path is not None:
        half = path.with_suffix(".half")
        half.write_text(json.dumps(result) + "\n")
        half.replace(path)


def progress(what: str) -> None:
    if sys.stderr.isatty():
        print(what, file=sys.stderr)
