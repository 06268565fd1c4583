"""Every text that an engine accepts is counted once, as ended or as dropped, and answered once."""

import threading
import time

import numpy as np
import pytest

from gemwire_server.engine.thread_engine import ThreadEngine
from gemwire_server.errors import Overloaded
from support.fake_runner import (
    NOT_A_NUMBER,
    POISON,
    WAIT,
    Books,
    Caller,
    FakeRunner,
    hold,
    text,
)


@pytest.mark.parametrize("raises", [False, True])
def test_each_way_to_end_is_counted_once_even_by_who_raises(raises: bool) -> None:
    runner, books = FakeRunner(), Books(raises)
    engine = ThreadEngine(runner, max_batch_tokens=10, max_queue_tokens=100, observer=books)
    hold(engine, runner)
    served, bad, cancelled, abandoned = Caller(2), Caller(2), Caller(3), Caller(1)
    expired = Caller(1, deadline=time.monotonic())
    engine.submit([text(20, 1), text(NOT_A_NUMBER, 1)], served.submission)
    engine.submit([text(POISON, 4), text(21, 1)], bad.submission)
    engine.submit([text(22, 1)] * 3, cancelled.submission)
    engine.submit([text(23, 1)], expired.submission)
    engine.cancel(cancelled.submission)
    engine.cancel(cancelled.submission)  # again, which is nothing
    assert engine.state().queued_tokens == 7
    runner.gate.set()
    assert len(served.vectors()) == len(bad.vectors()) == 1
    assert served.done.is_set() and expired.done.wait(WAIT)

    def abandon(number: int) -> None:
        engine.submit([text(24, 1)], abandoned.submission)
        engine.abandon()

    runner.during = abandon
    last = Caller(1)
    engine.submit([text(25, 1)], last.submission)
    assert last.vectors() == {0: [25, 1]} and abandoned.done.wait(WAIT)
    engine.close()
    assert books.told == {"ended": 4, "poison": 2, "cancelled": 3, "expired": 1, "abandoned": 1}


def test_a_text_cancelled_in_its_step_has_ended() -> None:
    runner, books = FakeRunner(), Books()
    engine = ThreadEngine(runner, max_batch_tokens=2, max_queue_tokens=100, observer=books)
    caller = Caller(3)
    runner.during = lambda number: engine.cancel(caller.submission) if number == 0 else None
    engine.submit([text(1, 2)] * 3, caller.submission)
    engine.close()
    assert books.told == {"ended": 1, "cancelled": 2}


@pytest.mark.parametrize("depth", [1, 2])
def test_under_contention_the_books_balance(depth: int) -> None:
    """Threads submit, cancel, let expire and poison; then the engine closes, or is abandoned."""
    for end in ("close", "abandon"):
        runner, books = FakeRunner(depth), Books()
        engine = ThreadEngine(runner, max_batch_tokens=64, max_queue_tokens=1500, observer=books)
        accepted: list[Caller] = []
        cancelled: set[Caller] = set()

        def client(
            seed: int, engine: ThreadEngine, accepted: list[Caller], cancelled: set[Caller]
        ) -> None:
            random = np.random.default_rng(seed)
            for _ in range(150):
                count = int(random.integers(1, 9))
                late = time.monotonic() + float(random.exponential(0.02))
                caller = Caller(count, deadline=late) if random.random() < 0.3 else Caller(count)
                caller.submission.caller = seed
                caller.submission.flow = int(random.integers(3))
                firsts = random.choice([POISON, NOT_A_NUMBER, 100, 200, 300], count, p=ODDS)
                try:
                    engine.submit(
                        [text(int(first), int(random.integers(1, 30))) for first in firsts],
                        caller.submission,
                    )
                except Overloaded:
                    time.sleep(0.001)
                    continue
                accepted.append(caller)
                if random.random() < 0.3:
                    engine.cancel(caller.submission)
                    cancelled.add(caller)

        threads = [
            threading.Thread(target=client, args=(seed, engine, accepted, cancelled))
            for seed in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if end == "abandon":
            engine.abandon()
        engine.close()
        assert sum(books.told.values()) == sum(caller.expected for caller in accepted)
        for caller in accepted:
            answered = [index for part in caller.results for index in part.indices]
            assert len(set(answered)) == len(answered), "answered twice"
            assert caller in cancelled or len(answered) == caller.expected, "not answered"
        assert engine.state().queued_tokens == 0
        assert books.told["ended"] and books.told["cancelled"] and books.told["poison"]


ODDS = [0.02, 0.05, 0.31, 0.31, 0.31]
