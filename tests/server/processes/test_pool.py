"""Engines behind one pool: the least queued is chosen, and what an ended one leaves is looked after."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from gemwire_server.engine.interface import Output, Results, Submission
from gemwire_server.engine.scheduler import Scheduler
from gemwire_server.errors import EngineFailure, InvalidInput, Overloaded, Stopped
from gemwire_server.processes.pool import EnginePool
from gemwire_server.processes.quarantine import digest
from support.engines import Engines, ids

WAIT = 20.0


class Answers:
    """What a submission is given."""

    def __init__(self, **options: float) -> None:
        self.errors: dict[int, Exception] = {}
        self.vectors: dict[int, list[float]] = {}
        self.submission = Submission(self._take, **options)  # type: ignore[arg-type]

    def _take(self, results: Results) -> None:
        for row, index in enumerate(results.indices):
            if results.error is not None:
                self.errors[index] = results.error
            else:
                assert results.vectors is not None
                self.vectors[index] = results.vectors[row].tolist()

    def __len__(self) -> int:
        return len(self.errors) + len(self.vectors)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_work_goes_to_the_engine_with_the_least_queued() -> None:
    with Engines(2) as engines:
        engines.hold()
        answers = [Answers() for _ in range(20)]
        for number, each in enumerate(answers):
            engines.pool.submit([ids(number + 100, 5)], each.submission)
        eventually(lambda: engines.pool.state().queued_tokens <= 90)  # both have begun
        engines.release()
        eventually(lambda: all(len(each) == 1 for each in answers))
        assert [each.vectors[0][0] for each in answers] == [number + 100 for number in range(20)]
        shares = [sum(batch.num_texts for batch in runner.batches) for runner in engines.runners]
        assert min(shares) >= 8


def test_without_an_engine_work_is_refused_with_a_time_to_come_back() -> None:
    pool = EnginePool(max_queue_tokens=100, max_tokens=2048, hidden_size=2)
    pool.retry_after = 7.0
    with pytest.raises(Stopped) as caught:
        pool.submit([ids(1, 1)], Answers().submission)
    assert (caught.value.reason, caught.value.retry_after) == ("ENGINE_RESTARTING", 7.0)
    with pytest.raises(Stopped):
        pool.check_room(0, 1, caller=0)


@pytest.mark.parametrize("window,hidden", [(2048, 768), (8192, 1024)])
def test_the_states_of_the_longest_texts_arrive(window: int, hidden: int) -> None:
    """More than the ring holds, beside vectors; the second window asks for a larger ring."""
    kept: list[Results] = []
    lengths = [window, 3, window - 1, window, 1, window]
    with Engines(1, max_queue_tokens=20 * window, dimensions=hidden, max_tokens=window) as engines:
        states = Submission(kept.append, output=Output.TOKENS)
        units, raw = Answers(), Answers()
        raw.submission.output = Output.RAW
        engines.hold()
        engines.pool.submit([ids(50 + i, n) for i, n in enumerate(lengths)], states)
        engines.pool.submit([ids(70, 4)], units.submission)
        engines.pool.submit([ids(71, 4)], raw.submission)
        engines.release()
        eventually(lambda: len(kept) == len(lengths) and len(units) + len(raw) == 2)
    assert units.vectors[0][:2] == [70, 4] and raw.vectors[0][:2] == [-71, -4]
    for part in kept:
        (index,) = part.indices
        assert part.vectors is not None and part.vectors.shape == (lengths[index], hidden)
        assert (part.vectors[:, 0] == 50 + index).all()
        assert (part.vectors[:, 2:] == 50 + index).all()


def test_states_of_tokens_move_to_another_engine_when_theirs_ends() -> None:
    kept: list[Results] = []
    with Engines(2) as engines:
        engines.hold()
        first, second = Answers(), Answers()
        engines.pool.submit([ids(1, 9)], first.submission)
        engines.pool.submit([ids(2, 9)], second.submission)
        eventually(lambda: engines.begun() == 2)
        engines.pool.submit([ids(3, 5)], Submission(kept.append, output=Output.TOKENS))
        (index,) = (i for i, remote in enumerate(engines.pool.engines) if len(remote) == 2)
        engines.end(index)
        engines.release()
        eventually(lambda: len(kept) == 1)
    assert kept[0].vectors is not None
    np.testing.assert_array_equal(kept[0].vectors, [[3, 5]] * 5)


def test_a_request_over_the_queue_is_refused_with_the_schedulers_words() -> None:
    scheduler = Scheduler(max_batch_tokens=10, max_queue_tokens=100, clock=time.monotonic)
    with pytest.raises(InvalidInput) as expected:
        scheduler.add(Answers().submission, [ids(1, 101)])
    assert expected.value.reason == "REQUEST_TOO_LARGE"
    with Engines(1, max_queue_tokens=100) as engines:
        without = EnginePool(max_queue_tokens=100, max_tokens=2048, hidden_size=2)
        for pool in (engines.pool, without):
            with pytest.raises(InvalidInput) as caught:
                pool.submit([ids(1, 101)], Answers().submission)
            assert vars(caught.value) == vars(expected.value)


def test_what_an_ended_engine_had_not_begun_goes_to_another_and_what_ran_does_not() -> None:
    with Engines(2) as engines:
        engines.hold()
        answers = [Answers() for _ in range(6)]
        for number, each in enumerate(answers):
            engines.pool.submit([ids(number + 100, 10)], each.submission)
        eventually(lambda: engines.begun() == 2)
        ran = [runner.batches[0].input_ids[0] for runner in engines.runners]
        running = engines.end(0)
        assert running == [digest(ids(int(ran[0]), 10))]
        engines.release()
        eventually(lambda: all(len(each) == 1 for each in answers))
        failed = [number for number, each in enumerate(answers) if each.errors]
        assert [number + 100 for number in failed] == [ran[0]]
        error = answers[failed[0]].errors[0]
        assert isinstance(error, Stopped) and error.reason == "ENGINE_RESTARTING"


def test_what_the_last_engine_leaves_is_refused_at_once() -> None:
    with Engines(1) as engines:
        engines.hold()
        answers = [Answers() for _ in range(5)]
        for number, each in enumerate(answers):
            engines.pool.submit([ids(number + 100, 5)] * 3, each.submission)
        eventually(lambda: engines.begun() == 1)
        engines.end(0)
        assert all(len(each.errors) == 3 for each in answers)
        assert {type(error) for each in answers for error in each.errors.values()} == {Stopped}


def test_a_suspect_runs_alone_and_a_convict_never() -> None:
    with Engines(1) as engines:
        held = engines.pool.quarantine
        held.add([digest(ids(201, 2))], convicted=False)
        held.add([digest(ids(202, 2))], convicted=True)
        engines.hold()
        first = Answers()
        engines.pool.submit([ids(1, 1)], first.submission)
        eventually(lambda: engines.begun() == 1)
        answers = Answers()
        engines.pool.submit([ids(n, 2) for n in (200, 201, 202, 203)], answers.submission)
        engines.release()
        eventually(lambda: len(answers) == 4)
        assert isinstance(answers.errors[2], EngineFailure)
        assert answers.errors[2].reason == "POISON_INPUT"
        assert {i: row[0] for i, row in answers.vectors.items()} == {0: 200, 1: 201, 3: 203}
        batches = [batch.input_ids.tolist() for batch in engines.runners[0].batches]
        assert [201, 1] in batches and not any(202 in batch for batch in batches)
        assert not held.is_suspected(digest(ids(201, 2)))  # it was computed, and nothing happened


def test_the_front_refuses_by_what_it_knows_before_the_engine_is_asked() -> None:
    with Engines(1, max_queue_tokens=100) as engines:
        engines.hold()
        for _ in range(4):
            engines.pool.submit([ids(1, 20)], Answers(caller=3).submission)
        eventually(lambda: engines.pool.state().queued_tokens == 60)  # and one runs
        with pytest.raises(Overloaded) as caught:
            engines.pool.check_room(0, 50, caller=4)
        assert caught.value.reason == "QUEUE_FULL"
        with pytest.raises(Overloaded) as caught:
            engines.pool.check_room(0, 30, caller=3)
        assert caught.value.reason == "CALLER_QUEUE_FULL"
        engines.pool.check_room(0, 30, caller=4)
        engines.release()
        eventually(lambda: engines.pool.state().queued_tokens == 0)
        engines.pool.check_room(0, 30, caller=3)


def test_results_of_any_size_and_many_dimensions_arrive_whole() -> None:
    with Engines(1, dimensions=768, max_queue_tokens=100_000) as engines:
        answers = Answers()
        engines.pool.submit([ids(n, 1 + n % 7) for n in range(3000)], answers.submission)
        eventually(lambda: len(answers) == 3000)
        for n, row in answers.vectors.items():
            assert len(row) == 768 and row[:2] == [n, 1 + n % 7]
            assert np.all(np.array(row[2:]) == n % 100)
