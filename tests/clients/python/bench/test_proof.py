"""The generator against theory: what it reports of a server that is known exactly."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from faults.under_test import under_test
from gemwire_bench.mix import TrafficClass
from gemwire_bench.run import Step, Workers
from support.loading import md1, plan, sending, waits
from support.steady import steady

SERVICE = 0.08
WAITS = {load: md1(load, SERVICE) for load in (0.5, 0.8)}
# Of schedules whose mean wait is near that of all: a test has no time for many calls.
SEEDS = {0.5: 21, 0.8: 51}


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_mean_wait_follows_the_theory(tiny_checkpoint: Path, load: float) -> None:
    seconds = 12 if load == 0.5 else 10
    found: list[float] = []
    with steady(tiny_checkpoint, SERVICE) as address, sending(address) as sender:
        # What the machine does besides can only add to a wait: one of a few tries must be right.
        while not (found and close(found[-1], WAITS[load])) and len(found) < 8:
            # No call waits here: the rest of the latency is the way there and back.
            alone = run(sender, 8, 4, "constant")
            step = run(sender, load / SERVICE, seconds, "poisson", SEEDS[load])
            found.append(mean(step) - mean(alone))
    expected = waits(step.plan.schedule(), SERVICE).mean()
    # The schedule is one of those that wait as long as all do on average.
    assert close(expected, WAITS[load])
    assert close(found[-1], expected), found


def close(found: float, expected: float) -> bool:
    return abs(found / expected - 1) <= 0.05


def run(sender: Workers, rate: float, seconds: float, arrivals: str, seed: int = 0) -> Step:
    """A step that was answered whole."""
    step = sender.run(plan(rate, seconds, TrafficClass(tokens="16", arrivals=arrivals), seed=seed))
    assert step.records.count("samples", code="OK") == step.calls
    return step


def mean(step: Step) -> float:
    return float(step.records.histogram("latency").get_mean_value() / 1e6)


def test_a_stall_shows_as_it_must(tiny_checkpoint: Path) -> None:
    seconds, rate, stall = 4.0, 50.0, 1.0
    one = TrafficClass(tokens="16", arrivals="constant")
    with under_test(tiny_checkpoint, settings={"step_seconds": 0.001}) as server:
        with sending(server.address, 2) as sender:
            timer = threading.Timer(1.5, server.controls.stall, [stall])
            timer.start()
            step = sender.run(plan(rate, seconds, one))
            timer.join()
            # What a closed loop makes of the same stall: one slow call.
            timer = threading.Timer(1.5, server.controls.stall, [stall])
            timer.start()
            closed = sender.run(replace(plan(rate, seconds, one), callers=1))
            timer.join()
    assert step.records.count("samples", code="OK") == rate * seconds
    latency = step.records.histogram("latency")
    # A quarter of the calls were due in the stall, and waited for the rest of it, evenly from 0 to 1 s.
    for rank, expected in ((50, 0.0), (80, 0.2), (90, 0.6), (95, 0.8), (99, 0.96)):
        found = latency.get_value_at_percentile(rank) / 1e6
        assert expected - 0.05 <= found <= expected + 0.2, (rank, found)
    assert closed.records.histogram("latency").get_value_at_percentile(90) / 1e6 < 0.2
