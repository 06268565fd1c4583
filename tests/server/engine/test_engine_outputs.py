"""Engines, in threads and behind a link, that compute all three outputs at once."""

from collections.abc import Iterator

import numpy as np
import pytest

from gemwire_server.engine.interface import Engine, Output, Results, Submission
from gemwire_server.engine.thread_engine import ThreadEngine
from gemwire_server.errors import EngineFailure
from support.fake_runner import (
    NOT_A_NUMBER,
    POISON,
    WAIT,
    Books,
    Caller,
    FakeRunner,
    eventually,
    hold,
    text,
)
from support.loopback import LoopbackEngine


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture(params=[ThreadEngine, LoopbackEngine], ids=["thread", "process"])
def engine(request: pytest.FixtureRequest, runner: FakeRunner, books: Books) -> Iterator[Engine]:
    engine: Engine = request.param(
        runner, max_batch_tokens=20, max_queue_tokens=1000, observer=books
    )
    yield engine
    runner.gate.set()
    engine.close()


class Rows(Caller):
    """A caller of the output TOKENS."""

    def __init__(self, expected: int) -> None:
        super().__init__(expected)
        self.submission = Submission(self._deliver, output=Output.TOKENS)

    def rows(self) -> dict[int, list[list[float]]]:
        assert self.done.wait(WAIT), "not answered"
        found = {}
        for part in self.results:
            if part.vectors is not None:
                (index,) = part.indices
                found[index] = part.vectors.tolist()
        return found


def expected_rows(first: int, length: int) -> list[list[float]]:
    return [[float(id), float(length)] for id in text(first, length).tolist()]


def caller_of(output: Output, texts: int) -> Caller:
    if output is Output.TOKENS:
        return Rows(texts)
    caller = Caller(texts)
    caller.submission.output = output
    return caller


def check(caller: Caller, firsts: list[int], lengths: list[int]) -> None:
    """Every text has its own answer, of the output asked for."""
    pairs = list(zip(firsts, lengths, strict=True))
    if isinstance(caller, Rows):
        assert caller.rows() == {i: expected_rows(*pair) for i, pair in enumerate(pairs)}
        return
    sign = -1 if caller.submission.output is Output.RAW else 1
    assert caller.vectors() == {
        i: [sign * first, sign * length] for i, (first, length) in enumerate(pairs)
    }


def test_mixed_submissions_each_get_their_output(engine: Engine, runner: FakeRunner) -> None:
    held = hold(engine, runner)
    random = np.random.default_rng(0)
    asked = []
    for number in range(30):
        lengths = random.integers(1, 12, 4).tolist()
        firsts = [1000 + 10 * number + i for i in range(4)]
        caller = caller_of(list(Output)[number % 3], 4)
        caller.submission.caller = number % 5
        sequences = [text(first, n) for first, n in zip(firsts, lengths, strict=True)]
        engine.submit(sequences, caller.submission)
        asked.append((caller, firsts, lengths))
    runner.gate.set()
    for caller, firsts, lengths in asked:
        check(caller, firsts, lengths)
    assert held.vectors() == {0: [1, 1]}
    output_of = {first: caller.submission.output for caller, firsts, _ in asked for first in firsts}
    for batch, output in zip(runner.batches[1:], runner.outputs[1:], strict=True):
        assert {output_of[first] for first in batch.input_ids[batch.cu_seqlens[:-1]]} == {output}
    assert any(batch.num_texts > 1 for batch in runner.batches)


@pytest.mark.parametrize("output", list(Output))
def test_a_poison_text_fails_alone(
    output: Output, engine: Engine, runner: FakeRunner, books: Books
) -> None:
    caller = caller_of(output, 5)
    engine.submit([text(POISON if i == 3 else 100 + i, 2) for i in range(5)], caller.submission)
    assert caller.errors() == {3: EngineFailure}
    assert {i for part in caller.results if not part.error for i in part.indices} == {0, 1, 2, 4}
    assert set(runner.outputs) == {output}
    eventually(lambda: books.told == {"ended": 4, "poison": 1})


def test_one_token_that_is_not_finite_fails_its_text_alone(engine: Engine, books: Books) -> None:
    bad = text(102, 4)
    bad[2] = NOT_A_NUMBER
    caller = Rows(3)
    engine.submit([text(101, 3), bad, text(103, 1)], caller.submission)
    assert caller.rows() == {0: expected_rows(101, 3), 2: expected_rows(103, 1)}
    assert caller.errors() == {1: EngineFailure}
    eventually(lambda: books.told == {"ended": 2, "poison": 1})


def test_cancelled_texts_are_not_computed(engine: Engine, runner: FakeRunner, books: Books) -> None:
    first = hold(engine, runner)
    gone, stays = Rows(3), Rows(1)
    engine.submit([text(200 + i, 2) for i in range(3)], gone.submission)
    engine.submit([text(300, 2)], stays.submission)
    engine.cancel(gone.submission)
    eventually(lambda: books.told["cancelled"] == 3)
    runner.gate.set()
    assert first.vectors() and stays.rows() == {0: expected_rows(300, 2)}
    assert not gone.results
    assert all((batch.input_ids < 200).all() or 300 in batch.input_ids for batch in runner.batches)


def test_rows_of_a_text_are_not_those_of_its_neighbours(runner: FakeRunner) -> None:
    """Each keeps its own memory alone: one text of a large step must not hold all of it."""
    kept: list[Results] = []
    engine = ThreadEngine(runner, max_batch_tokens=20, max_queue_tokens=1000)
    engine.submit([text(7, 3), text(8, 5)], Submission(kept.append, output=Output.TOKENS))
    engine.close()
    for part, length in zip(kept, (3, 5), strict=True):
        assert part.vectors is not None and part.vectors.base is None
        assert part.vectors.shape == (length, 2)
        assert part.step is not None and part.step.batch_texts == 2
