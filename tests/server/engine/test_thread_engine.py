"""Engines, in threads and behind a link, with a runner that can be held, broken and watched."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from gemwire_server.engine.interface import Engine, Results, Submission
from gemwire_server.engine.thread_engine import ThreadEngine
from gemwire_server.errors import EngineFailure, Expired, Overloaded, Stopped
from support.fake_runner import (
    LOST,
    LOST_AT_ONCE,
    NOT_A_NUMBER,
    WAIT,
    Caller,
    FakeRunner,
    eventually,
    hold,
    refusal,
    text,
)
from support.loopback import LoopbackEngine


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture(params=[ThreadEngine, LoopbackEngine], ids=["thread", "process"])
def make(request: pytest.FixtureRequest) -> Callable[..., Engine]:
    """Either engine: what holds for one holds for the other."""
    made: Callable[..., Engine] = request.param
    return made


@pytest.fixture
def engine(make: Callable[..., Engine], runner: FakeRunner) -> Iterator[Engine]:
    engine = make(runner, max_batch_tokens=10, max_queue_tokens=100)
    yield engine
    runner.gate.set()
    engine.close()


def test_every_text_gets_its_own_vector(engine: Engine, runner: FakeRunner) -> None:
    callers = [Caller(3) for _ in range(5)]
    for number, caller in enumerate(callers):
        engine.submit([text(100 + number * 3 + i, 1 + i) for i in range(3)], caller.submission)
    for number, caller in enumerate(callers):
        assert caller.vectors() == {i: [100 + number * 3 + i, 1 + i] for i in range(3)}
    assert len(runner.threads) == 1
    eventually(lambda: engine.state().queued_tokens == 0)
    assert sum(batch.num_texts for batch in runner.batches) == 15


def test_what_waits_becomes_the_next_batch(engine: Engine, runner: FakeRunner) -> None:
    first = hold(engine, runner)
    callers = [Caller(1) for _ in range(6)]
    for i, caller in enumerate(callers):
        engine.submit([text(20 + i, 3)], caller.submission)
    waiting = engine.host.engine if isinstance(engine, LoopbackEngine) else engine
    eventually(lambda: waiting.state().queued_tokens == 18)  # they have arrived
    runner.gate.set()
    assert [caller.vectors() for caller in callers] == [{0: [20 + i, 3]} for i in range(6)]
    assert first.vectors() == {0: [1, 1]}
    assert [batch.num_texts for batch in runner.batches] == [1, 3, 3]


def test_a_full_batch_begins_while_another_is_under_way_and_a_smaller_one_does_not(
    make: Callable[..., Engine],
) -> None:
    runner = FakeRunner(depth=2)
    engine = make(runner, max_batch_tokens=10, max_queue_tokens=100)
    first = hold(engine, runner)
    small, gone, full = Caller(1), Caller(1), Caller(2)
    engine.submit([text(30, 4)], small.submission)
    engine.submit([text(31, 4)], gone.submission)
    engine.cancel(gone.submission)
    assert not runner.entered.acquire(timeout=0.1)  # less than a budget: more could join it
    runner.gate.set()
    assert first.vectors() == {0: [1, 1]} and small.vectors() == {0: [30, 4]}
    assert runner.entered.acquire(timeout=WAIT)
    hold(engine, runner)
    engine.submit([text(32, 5), text(33, 5)], full.submission)
    assert runner.entered.acquire(timeout=WAIT)  # the device is held, and yet it has begun
    assert runner.batches[-1].num_texts == 2 and not full.results
    third = Caller(2)
    engine.submit([text(34, 5), text(35, 5)], third.submission)
    assert not runner.entered.acquire(timeout=0.1)  # two are under way
    runner.gate.set()
    assert full.vectors() == {0: [32, 5], 1: [33, 5]} and len(third.vectors()) == 2
    engine.close()
    assert gone.results == []


@pytest.mark.parametrize("lost", [LOST, LOST_AT_ONCE])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_lost_device_fails_what_is_under_way_and_ends_the_engine(
    make: Callable[..., Engine], depth: int, lost: int
) -> None:
    dead = threading.Event()
    runner = FakeRunner(depth)
    engine = make(runner, max_batch_tokens=10, max_queue_tokens=100, on_death=dead.set)
    before, broken = hold(engine, runner), Caller(1)
    engine.submit([text(lost, 10)], broken.submission)
    rest = [Caller(1) for _ in range(2)]
    for caller in rest:
        engine.submit([text(98, 10)], caller.submission)
    runner.gate.set()
    assert broken.errors() == {0: EngineFailure}
    assert {part.error.reason for part in broken.results if part.error} == {"DEVICE_LOST"}
    # What was computed is answered, unless the device is gone before it could be fetched.
    assert before.done.wait(WAIT)
    assert set().union(*(caller.errors().values() for caller in rest)) <= {EngineFailure, Stopped}
    assert dead.wait(WAIT)
    assert refusal(engine, [text(97, 1)]) is Stopped
    engine.close()


def test_cancelled_and_expired_work_is_never_computed(engine: Engine, runner: FakeRunner) -> None:
    hold(engine, runner)
    cancelled, expired, served = Caller(1), Caller(1, deadline=time.monotonic()), Caller(1)
    for first, caller in ((40, cancelled), (41, expired), (42, served)):
        engine.submit([text(first, 2)], caller.submission)
    engine.cancel(cancelled.submission)
    eventually(lambda: engine.state().queued_tokens == 2)  # neither holds room any more
    runner.gate.set()
    assert served.vectors() == {0: [42, 2]}
    assert expired.errors() == {0: Expired}
    assert cancelled.results == []
    assert not any(ids in batch.input_ids for batch in runner.batches for ids in (40, 41))


def test_overload_is_refused_and_dead_work_makes_room(engine: Engine, runner: FakeRunner) -> None:
    hold(engine, runner)
    waiting = Caller(9)
    engine.submit([text(50, 9)] * 9, waiting.submission)
    assert refusal(engine, [text(51, 9)] * 5) is Overloaded
    engine.cancel(waiting.submission)
    late = Caller(5)
    engine.submit([text(52, 9)] * 5, late.submission)
    runner.gate.set()
    assert len(late.vectors()) == 5


def test_a_vector_that_is_not_finite_fails_alone(engine: Engine) -> None:
    caller = Caller(3)
    engine.submit([text(60, 1), text(NOT_A_NUMBER, 1), text(61, 1)], caller.submission)
    assert caller.vectors() == {0: [60, 1], 2: [61, 1]}
    assert caller.errors() == {1: EngineFailure}


def test_a_caller_that_raises_does_not_stop_the_engine(engine: Engine) -> None:
    def broken(results: Results) -> None:
        raise RuntimeError("the event loop is closed")

    engine.submit([text(80, 1)], Submission(broken))
    caller = Caller(1)
    engine.submit([text(81, 1)], caller.submission)
    assert caller.vectors() == {0: [81, 1]}


def test_closing_answers_what_was_accepted(make: Callable[..., Engine], runner: FakeRunner) -> None:
    engine = make(runner, max_batch_tokens=10, max_queue_tokens=100)
    hold(engine, runner)
    callers = [Caller(1) for _ in range(8)]
    for i, caller in enumerate(callers):
        engine.submit([text(90 + i, 7)], caller.submission)
    closing = threading.Thread(target=engine.close)
    closing.start()
    with pytest.raises(Stopped):
        while True:  # until close has begun
            engine.submit([text(99, 1)], Caller(1).submission)
            time.sleep(0.001)
    runner.gate.set()
    closing.join(WAIT)
    assert not closing.is_alive()
    assert [caller.vectors() for caller in callers] == [{0: [90 + i, 7]} for i in range(8)]


def test_abandoning_answers_what_waits_and_finishes_what_runs(
    make: Callable[..., Engine], runner: FakeRunner
) -> None:
    engine = make(runner, max_batch_tokens=10, max_queue_tokens=100)
    running = hold(engine, runner)
    waiting = [Caller(1) for _ in range(6)]
    for caller in waiting:
        engine.submit([text(95, 7)], caller.submission)
    eventually(lambda: engine.state().queued_tokens == 6 * 7)  # and it is known that one runs
    engine.abandon()
    assert [caller.errors() for caller in waiting] == [{0: Stopped}] * 6
    eventually(lambda: engine.state().queued_tokens == 0)
    runner.gate.set()
    assert running.vectors() == {0: [1, 1]}
    engine.close()
    assert len(runner.batches) == 1


def test_an_engine_that_dies_says_so_and_answers(
    runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = threading.Event()
    engine = ThreadEngine(runner, max_batch_tokens=10, max_queue_tokens=100, on_death=dead.set)
    hold(engine, runner)
    waiting = Caller(1)
    engine.submit([text(96, 7)], waiting.submission)
    monkeypatch.setattr(engine._scheduler, "next_batch", lambda: 1 / 0)
    runner.gate.set()
    assert waiting.errors() == {0: Stopped} and dead.wait(WAIT)
    with pytest.raises(Stopped):
        engine.submit([text(97, 1)], Caller(1).submission)
    engine.close()


def test_texts_that_could_not_be_packed_are_answered(
    runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = threading.Event()
    engine = ThreadEngine(runner, max_batch_tokens=10, max_queue_tokens=100, on_death=dead.set)
    monkeypatch.setattr("gemwire_server.engine.thread_engine.pack", lambda sequences: 1 / 0)
    caller = Caller(1)
    engine.submit([text(96, 7)], caller.submission)
    assert caller.errors() == {0: EngineFailure} and dead.wait(WAIT)
    engine.close()


def test_many_threads_submit_and_cancel(make: Callable[..., Engine], runner: FakeRunner) -> None:
    """Whatever is not cancelled gets its own vector, under contention."""
    engine = make(runner, max_batch_tokens=64, max_queue_tokens=1 << 20)
    wrong: list[object] = []

    def client(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(100):
            firsts = random.integers(1000, 1 << 20, random.integers(1, 6))
            caller = Caller(len(firsts))
            engine.submit(
                [text(int(first), int(random.integers(1, 30))) for first in firsts],
                caller.submission,
            )
            if random.random() < 0.2:
                engine.cancel(caller.submission)
            else:
                found = caller.vectors()
                if [found[i][0] for i in range(len(firsts))] != firsts.tolist():
                    wrong.append((firsts, found))

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.close()
    assert wrong == []
    assert engine.state().queued_tokens == 0
