"""What the server promises under faults and load, at sizes that take seconds.

Numbers that depend on the machine are measured by benchmarks/soak.py, which runs the same scenarios.
"""

import asyncio
import signal
from pathlib import Path

import numpy as np
import pytest

from faults.marked import Fault
from faults.scenarios import (
    cancels,
    connections,
    crashes,
    deadlines,
    fairness,
    overhead,
    overload,
    soak,
)
from faults.scenarios.drain import drain
from faults.scenarios.poison import BATCH, poison
from faults.under_test import check_books, under_test


def test_sigterm_loses_nothing(tiny_checkpoint: Path, engine: str) -> None:
    with under_test(tiny_checkpoint, engine=engine, settings={"token_seconds": 40e-6}) as server:
        found = asyncio.run(drain(server, rate=100, burst=200, streams=8, seconds=1.0))
        assert found.in_flight > 50, found.in_flight
        assert not found.lost
        assert {one.code for one in found.unary.all} <= {"OK", "UNAVAILABLE", "CANCELLED"}
        assert len(found.streams.of("OK")) > 0 and not found.streams.of("LOST").all
        assert found.exit_code == 0 and not server.children()


def test_what_has_expired_is_not_computed(tiny_checkpoint: Path, engine: str) -> None:
    with under_test(tiny_checkpoint, engine=engine) as server:
        found = asyncio.run(deadlines.expire(server, calls=200, stall=1.5))
        assert {one.code for one in found.outcomes.all} == {"DEADLINE_EXCEEDED"}
        assert not found.computed_late
        check_books(server)


def test_what_was_cancelled_is_not_computed(tiny_checkpoint: Path, engine: str) -> None:
    with under_test(tiny_checkpoint, engine=engine) as server:
        found = asyncio.run(cancels.cancel(server, calls=300))
        assert found.outcomes.codes() == {"CANCELLED": 300}
        assert found.computed <= 3
        check_books(server)


def test_overload_is_refused_with_a_time_to_come_back(tiny_checkpoint: Path, engine: str) -> None:
    with under_test(tiny_checkpoint, engine=engine, settings={"token_seconds": 100e-6}) as server:
        rate = asyncio.run(overload.peak(server, seconds=1.0))
        found = asyncio.run(overload.overload(server, rate=rate, factor=3, seconds=2, after=2.5))
    assert len(found.refused) > 0 and found.goodput > 0
    assert all(one.retry_after for one in found.refused.all)
    assert set(found.refused.codes()) <= {
        "RESOURCE_EXHAUSTED DEADLINE_UNREACHABLE",
        "RESOURCE_EXHAUSTED QUEUE_FULL",
        "RESOURCE_EXHAUSTED CALLER_QUEUE_FULL",
    }


def test_a_stream_does_not_starve_callers(tiny_checkpoint: Path, engine: str) -> None:
    with under_test(tiny_checkpoint, engine=engine, settings={"token_seconds": 100e-6}) as server:
        found = asyncio.run(fairness.beside_a_stream(server, texts=2000, alone_seconds=1))
    for outcomes in (found.alone, found.beside, found.bulk):
        assert set(outcomes.codes()) == {"OK"}
    # Behind the whole stream they would wait for seconds; a step is 50 ms.
    assert found.beside.percentile(50) < 0.5


def test_equal_streams_get_equal_shares(tiny_checkpoint: Path, engine: str) -> None:
    with under_test(tiny_checkpoint, engine=engine, settings={"token_seconds": 100e-6}) as server:
        assert asyncio.run(fairness.equal_streams(server, seconds=2.0)) >= 0.95


@pytest.mark.parametrize("fault", [Fault.RAISE, Fault.NAN], ids=lambda fault: fault.name)
def test_poison_fails_alone(tiny_checkpoint: Path, engine: str, fault: Fault) -> None:
    flags = ("--max-batch-tokens", "512")  # all 64 in one step
    with under_test(tiny_checkpoint, *flags, engine=engine) as server:
        for place in (0, 37, BATCH - 1):
            found = asyncio.run(poison(server, fault, place=place))
            assert found.answers == {"OK": BATCH - 1, "POISON_INPUT": 1}
            assert found.culprit == "POISON_INPUT"
            assert found.steps <= 1 + 7 * (fault is Fault.RAISE)
        check_books(server)


def test_a_soaked_server_is_as_it_was(tiny_checkpoint: Path, engine: str) -> None:
    with under_test(tiny_checkpoint, engine=engine, settings={"step_seconds": 0.002}) as server:
        found = asyncio.run(soak.soak(server, calls=1500))
        assert set(found.outcomes) <= {
            "OK",
            "CANCELLED",
            "DEADLINE_EXCEEDED",
            "DEADLINE_EXCEEDED DEADLINE_EXCEEDED",
            "RESOURCE_EXHAUSTED DEADLINE_UNREACHABLE",
        }, found.outcomes
        earlier, later = found.fds()
        assert later <= earlier + 12 and not server.usage().zombies
        check_books(server)


def test_a_call_costs_little_besides_its_step(tiny_checkpoint: Path, engine: str) -> None:
    with under_test(tiny_checkpoint, engine=engine, settings={"step_seconds": 0.001}) as server:
        found = asyncio.run(overhead.overhead(server, calls=200))
    assert len(found) == 200 and 0 < np.median(found) < 1


def test_connections_may_end_without_a_call_failing(tiny_checkpoint: Path, engine: str) -> None:
    with under_test(tiny_checkpoint, *connections.AGING_FLAGS, engine=engine) as server:
        assert set(asyncio.run(connections.aging(server, seconds=3)).codes()) == {"OK"}


def test_a_killed_engine_comes_back(tiny_checkpoint: Path) -> None:
    with under_test(tiny_checkpoint, settings={"step_seconds": 0.005}) as server:
        found = asyncio.run(crashes.crash_engine(server, signal.SIGKILL, times=4))
        assert not found.hung
        assert {one.code for one in found.outcomes.all} <= {"OK", "UNAVAILABLE"}
        check_unharmed(found)
        check_books(server)


def test_an_engine_that_stands_still_is_replaced(tiny_checkpoint: Path) -> None:
    flags = ("--watchdog-seconds", "1")
    with under_test(tiny_checkpoint, *flags, settings={"step_seconds": 0.005}) as server:
        found = asyncio.run(crashes.crash_engine(server, signal.SIGSTOP, times=2))
        assert not found.hung
        assert {one.code for one in found.outcomes.all} <= {"OK", "UNAVAILABLE"}
        check_unharmed(found)
        check_books(server)


def test_a_killed_front_harms_its_own_callers_alone(tiny_checkpoint: Path) -> None:
    flags = ("--fronts", "2")
    with under_test(tiny_checkpoint, *flags, settings={"step_seconds": 0.005}) as server:
        found, unharmed = asyncio.run(crashes.kill_front(server))
        assert not found.hung and unharmed
        assert {one.code for one in found.outcomes.all} <= {"OK", "UNAVAILABLE"}
        check_unharmed(found)
        check_books(server)


def check_unharmed(found: crashes.Crashed) -> None:
    """Asserts that there are as many processes as before, and that those that ended left nothing."""
    assert found.before is not None and found.after is not None
    assert not found.after.zombies
    assert found.after.processes == found.before.processes
    assert found.after.fds <= found.before.fds + 4
    assert found.after.shared_memory <= found.before.shared_memory


@pytest.mark.parametrize("fault", [Fault.ABORT, Fault.EXIT], ids=lambda fault: fault.name)
def test_poison_that_kills_the_engine_fails_alone(tiny_checkpoint: Path, fault: Fault) -> None:
    with under_test(tiny_checkpoint) as server:
        found = asyncio.run(poison(server, fault))
        assert found.answers == {"OK": BATCH - 1, "POISON_INPUT": 1}
        assert found.culprit == "POISON_INPUT"
        check_books(server)


def test_the_real_model_keeps_them_too(tiny_checkpoint: Path, engine: str) -> None:
    with under_test(tiny_checkpoint, engine=engine, fake=False) as server:
        found = asyncio.run(soak.soak(server, calls=400))
        assert {key.partition(" ")[0] for key in found.outcomes} <= {
            "OK",
            "CANCELLED",
            "DEADLINE_EXCEEDED",
            "RESOURCE_EXHAUSTED",
        }
        assert found.outcomes["OK"] > 100
        aged = asyncio.run(connections.aging(server, seconds=1))
        assert set(aged.codes()) == {"OK"}
        check_books(server)
        server.terminate()
        assert server.process.wait(30) == 0
