"""Steps that fail: the culprit alone is refused, and whatever ends meanwhile ends once."""

import time

import pytest

from gemwire_server.engine.thread_engine import ThreadEngine
from gemwire_server.errors import DeviceLost, EngineFailure, Expired, Stopped
from support.fake_runner import LOST, POISON, WAIT, Books, Caller, FakeRunner, hold, text


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def books() -> Books:
    return Books()


def engine_of(runner: FakeRunner, books: Books) -> ThreadEngine:
    return ThreadEngine(runner, max_batch_tokens=64, max_queue_tokens=10_000, observer=books)


def fail_once(number: int) -> None:
    if number == 0:
        raise RuntimeError("out of memory, for a moment")


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("place", [0, 1, 31, 32, 62, 63])
def test_one_poison_in_a_batch_of_64_fails_alone(place: int, depth: int, books: Books) -> None:
    runner = FakeRunner(depth)
    engine = engine_of(runner, books)
    caller = Caller(64)
    engine.submit(
        [text(POISON if i == place else 100 + i, 1) for i in range(64)], caller.submission
    )
    assert caller.vectors() == {i: [100 + i, 1] for i in range(64) if i != place}
    (refused,) = [part for part in caller.results if part.error is not None]
    assert isinstance(refused.error, EngineFailure) and refused.error.reason == "POISON_INPUT"
    assert refused.indices == [place]
    assert len(runner.batches) - 1 <= 7
    engine.close()
    assert books.told == {"ended": 63, "poison": 1}


def test_a_failure_that_passes_refuses_nobody(runner: FakeRunner, books: Books) -> None:
    runner.during = fail_once
    engine = engine_of(runner, books)
    caller = Caller(5)
    engine.submit([text(50 + i, 2) for i in range(5)], caller.submission)
    assert caller.vectors() == {i: [50 + i, 2] for i in range(5)}
    engine.close()
    assert books.told == {"ended": 5}


def test_a_text_that_fails_alone_has_a_second_chance_and_no_third(
    runner: FakeRunner, books: Books
) -> None:
    engine = engine_of(runner, books)
    poisoned, healthy = Caller(1), Caller(1)
    engine.submit([text(POISON, 5)], poisoned.submission)
    assert poisoned.errors() == {0: EngineFailure}
    engine.submit([text(71, 1)], healthy.submission)
    assert healthy.vectors() == {0: [71, 1]}
    engine.close()
    assert len(runner.batches) == 3
    assert books.told == {"ended": 1, "poison": 1}


def test_others_work_fits_between_the_steps_of_a_search(runner: FakeRunner, books: Books) -> None:
    """With a depth of one the search goes first, and then everybody is served."""
    engine = engine_of(runner, books)
    poisoned, others = Caller(64), [Caller(1) for _ in range(20)]

    def submit_others(number: int) -> None:
        if number == 1:
            for caller in others:
                engine.submit([text(500, 9)], caller.submission)

    runner.during = submit_others
    engine.submit([text(POISON, 1), *[text(9, 1)] * 63], poisoned.submission)
    assert len(poisoned.vectors()) == 63
    assert [caller.vectors() for caller in others] == [{0: [500, 9]}] * 20
    engine.close()
    assert books.told == {"ended": 83, "poison": 1}


def test_what_is_cancelled_or_expires_during_a_search_is_not_computed(
    runner: FakeRunner, books: Books
) -> None:
    engine = engine_of(runner, books)
    poisoned, cancelled, kept = Caller(1), Caller(2), Caller(1)
    expiring = Caller(2, deadline=time.monotonic() + 0.2)

    def end_some(number: int) -> None:
        if number == 1:  # the step of them all, which fails
            engine.cancel(cancelled.submission)
            assert expiring.submission.deadline is not None
            time.sleep(max(0.0, expiring.submission.deadline - time.monotonic()))

    runner.during = end_some
    hold(engine, runner)
    engine.submit([text(POISON, 1)], poisoned.submission)
    engine.submit([text(301, 1), text(302, 1)], cancelled.submission)
    engine.submit([text(303, 1), text(304, 1)], expiring.submission)
    engine.submit([text(305, 1)], kept.submission)
    runner.gate.set()
    assert kept.vectors() == {0: [305, 1]}
    assert expiring.errors() == {0: Expired, 1: Expired}
    assert poisoned.errors() == {0: EngineFailure}
    engine.close()
    assert cancelled.results == []
    tried_again = {int(i) for batch in runner.batches[2:] for i in batch.input_ids}
    assert not tried_again & {301, 302, 303, 304}
    assert books.told == {"ended": 2, "poison": 1, "cancelled": 2, "expired": 2}


def test_a_poison_nobody_waits_for_is_counted_and_not_delivered(
    runner: FakeRunner, books: Books
) -> None:
    engine = engine_of(runner, books)
    poisoned, kept = Caller(1), Caller(1)
    runner.during = lambda number: engine.cancel(poisoned.submission) if number == 2 else None
    hold(engine, runner)
    engine.submit([text(POISON, 1)], poisoned.submission)
    engine.submit([text(90, 1)], kept.submission)
    runner.gate.set()
    assert kept.vectors() == {0: [90, 1]}
    engine.close()
    assert poisoned.results == []
    assert books.told["ended"] == 2 and sum(books.told.values()) == 3


@pytest.mark.parametrize("depth", [1, 2])
def test_closing_during_a_search_answers_everybody(depth: int, books: Books) -> None:
    runner = FakeRunner(depth)
    engine = engine_of(runner, books)
    poisoned, waiting = Caller(64), Caller(3)
    engine.submit([text(POISON, 1), *[text(9, 1)] * 63], poisoned.submission)
    engine.submit([text(10, 1)] * 3, waiting.submission)
    engine.close()
    assert len(poisoned.vectors()) == 63 and poisoned.errors() == {0: EngineFailure}
    assert len(waiting.vectors()) == 3
    assert books.told == {"ended": 66, "poison": 1}


@pytest.mark.parametrize("step", range(1, 8))
def test_abandoning_during_a_search_answers_everybody_and_tries_no_more(
    step: int, runner: FakeRunner, books: Books
) -> None:
    engine = engine_of(runner, books)
    caller, waiting = Caller(64), Caller(2)
    runner.during = lambda number: engine.abandon() if number == step else None
    engine.submit([text(9, 1)] * 40 + [text(POISON, 1)] + [text(9, 1)] * 23, caller.submission)
    engine.submit([text(10, 1)] * 2, waiting.submission)
    ended = {**caller.errors(), **dict.fromkeys(caller.vectors(), None)}
    assert set(ended) == set(range(64)) and set(ended.values()) <= {None, Stopped, EngineFailure}
    assert waiting.errors() == {0: Stopped, 1: Stopped}
    engine.close()
    assert len(runner.batches) == step + 1
    assert sum(books.told.values()) == 66
    assert sum(len(part.indices) for part in caller.results) == 64


@pytest.mark.parametrize("step", range(1, 8))
@pytest.mark.parametrize("depth", [1, 2])
def test_losing_the_device_during_a_search_answers_everybody(
    step: int, depth: int, books: Books
) -> None:
    def lose(number: int) -> None:
        if number == step:
            raise DeviceLost

    runner = FakeRunner(depth)
    runner.during = lose
    engine = engine_of(runner, books)
    caller, waiting = Caller(64), Caller(64)
    engine.submit([text(9, 1)] * 40 + [text(POISON, 1)] + [text(9, 1)] * 23, caller.submission)
    engine.submit([text(10, 1)] * 64, waiting.submission)
    for one in (caller, waiting):
        ended = {**one.errors(), **dict.fromkeys(one.vectors(), None)}
        assert set(ended) == set(range(64))
        assert set(ended.values()) <= {None, Stopped, EngineFailure}
    engine.close()
    assert sum(books.told.values()) == 128
    assert sum(len(part.indices) for part in caller.results) == 64


def test_a_probe_behind_the_step_that_loses_the_device_is_answered_whole(books: Books) -> None:
    runner = FakeRunner(depth=2)

    def lose_once_there_is_a_probe(number: int) -> None:
        if number == 1:
            until = time.monotonic() + WAIT
            while len(runner.batches) < 3 and time.monotonic() < until:
                time.sleep(0.001)
            raise DeviceLost

    runner.during = lose_once_there_is_a_probe
    runner.gate.clear()
    engine = engine_of(runner, books)
    caller, waiting = Caller(64), Caller(64)
    engine.submit([text(POISON, 1), *[text(9, 1)] * 63], caller.submission)
    engine.submit([text(10, 1)] * 64, waiting.submission)
    runner.gate.set()
    assert caller.errors() == dict.fromkeys(range(64), EngineFailure)
    assert waiting.errors() == dict.fromkeys(range(64), EngineFailure)
    engine.close()
    assert [batch.num_texts for batch in runner.batches] == [64, 64, 32]
    assert books.told == {"lost": 128}


def test_losing_the_device_at_once_loses_nobody(runner: FakeRunner, books: Books) -> None:
    engine = engine_of(runner, books)
    caller = Caller(3)
    engine.submit([text(9, 1), text(LOST, 1), text(9, 1)], caller.submission)
    assert caller.errors() == {i: EngineFailure for i in range(3)}
    engine.close()
    assert books.told == {"lost": 3}
