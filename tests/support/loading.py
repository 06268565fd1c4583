"""A load in a test, and the waits that queueing theory expects of it."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from gemwire_bench import sender, texts
from gemwire_bench.mix import TrafficClass
from gemwire_bench.requests import Content
from gemwire_bench.run import Plan, Workers, workers
from gemwire_bench.schedule import NANOS, Schedule
from gemwire_bench.target import Asked, Target


@contextmanager
def sending(address: str, count: int = 1) -> Iterator[Workers]:
    """Workers for a server."""
    target = Target(address)
    with Asked(target) as asked:
        model = asked.model()
        source = texts.vocabulary(asked.tokenize, model.vocabulary_size, 1024, 0)
    content = Content(source, {}, 512)
    with workers(count, sender.main, target, content, model.dimensions, 1) as running:
        yield running


def plan(rate: float, seconds: float, *classes: TrafficClass, seed: int = 0) -> Plan:
    return Plan(classes or (TrafficClass(tokens="16"),), rate, seconds, 0.0, seed)


def waits(schedule: Schedule, service: float) -> NDArray[np.float64]:
    """Lindley's recursion: how long each call waits for one server of set service time, in seconds."""
    found = np.zeros(len(schedule))
    gaps = np.diff(schedule.at) / NANOS
    for call, gap in enumerate(gaps):
        found[call + 1] = max(0.0, found[call] + service - gap)
    return found


def md1(load: float, service: float) -> float:
    """The mean of these waits over all Poisson schedules, Pollaczek and Khinchine's, in seconds."""
    return load * service / (2 * (1 - load))
