"""How long calls take on a GPU: each contender captured as a graph, the graphs replayed in turns.

A graph leaves the launches' cost on the host out. Each call of a contender has inputs and outputs of its
own, together more than the L2 holds, so that what is timed is memory and not the cache. Turns, so that a
card that slows down slows all of them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

import torch

# A replay of fewer calls is too short for the events around it.
LEAST_CALLS = 32
LEAST_ROUNDS = 5

Call = Callable[[], object]


class Replay(NamedTuple):
    """A graph, and the number of calls that the graph holds."""

    graph: torch.cuda.CUDAGraph
    calls: int


def input_sets(bytes_of_one: int, l2_bytes: int) -> int:
    """Returns how many sets of inputs fill the L2 twice, within limits."""
    return max(2, min(64, -(-2 * l2_bytes // max(bytes_of_one, 1))))


def capture(calls: Sequence[Call]) -> Replay:
    """Repeats the calls in order until there are enough of them."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for call in calls:  # compiles and loads what a capture must not
            call()
    torch.cuda.synchronize()
    graph, passes = torch.cuda.CUDAGraph(), -(-LEAST_CALLS // len(calls))
    with torch.cuda.graph(graph):
        for _ in range(passes):
            kept = [call() for call in calls]  # so that no call writes where another did
            del kept
    return Replay(graph, passes * len(calls))


def interleave(replays: Mapping[str, Replay], seconds: float) -> dict[str, float]:
    """Returns the median seconds of one call of each; they take turns in rounds for about `seconds`."""
    for replay in replays.values():
        replay.graph.replay()
    torch.cuda.synchronize()
    found: dict[str, list[float]] = {name: [] for name in replays}
    started, rounds = time.monotonic(), 0
    while rounds < LEAST_ROUNDS or time.monotonic() - started < seconds:
        marks = {name: _timed(replay) for name, replay in replays.items()}
        torch.cuda.synchronize()
        for name, (start, end) in marks.items():
            found[name].append(start.elapsed_time(end) / 1e3 / replays[name].calls)
        rounds += 1
    return {name: median(values) for name, values in found.items()}


def _timed(replay: Replay) -> tuple[torch.cuda.Event, torch.cuda.Event]:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    replay.graph.replay()
    end.record()
    return start, end


@contextmanager
def poisoned():
    """Fills new memory with NaN inside the context, so that an output with a hole is seen."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


def relative_error(out: torch.Tensor, truth: torch.Tensor) -> float:
    """Returns |out - truth| / |truth|, which is NaN if a number is NaN."""
    difference = torch.linalg.vector_norm(out.double() - truth.double())
    return float(difference / torch.linalg.vector_norm(truth.double()))
