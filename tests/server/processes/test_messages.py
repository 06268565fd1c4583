"""Every message, over a link and back: no field is lost, and every size arrives."""

import os
from dataclasses import fields

import numpy as np
import pytest

from gemwire_server.engine.interface import Output, Results, StepTiming
from gemwire_server.errors import EngineFailure, Overloaded
from gemwire_server.processes import messages
from gemwire_server.processes.link import BODY_BYTES
from gemwire_server.processes.messages import (
    RESULT_BYTES,
    Answer,
    Cancel,
    Message,
    Submit,
    answers,
    decode,
    token_states_bytes,
)
from support.links import linked

STEP = StepTiming(0.25, 0.125, 3, 4_000_000_000)


@pytest.fixture
def random() -> np.random.Generator:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    return np.random.default_rng(seed)


def sent(message: Message) -> Message:
    """The message as the other side of a link decodes it."""
    with linked(out_bytes=1 << 25, in_bytes=4096) as (first, second):
        body, payload = message.encode()
        assert len(body) <= BODY_BYTES
        assert first.send(body, *payload)
        ((arrived, content),) = list(second.receive())
        return decode(arrived, content)


def plain(value: object) -> object:
    """The value in types that compare by their contents."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tolist()
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Exception):
        return type(value), vars(value)
    if isinstance(value, Results):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    return value


def same(message: Message) -> bool:
    found = sent(message)
    assert type(found) is type(message)
    for each in fields(message):
        assert plain(getattr(found, each.name)) == plain(getattr(message, each.name)), each.name
    return True


def test_every_field_of_a_submission_arrives(random: np.random.Generator) -> None:
    for i in range(200):
        lengths = random.integers(1, 60, random.integers(1, 30))
        assert same(
            Submit(
                number=int(random.integers(1, 2**64, dtype=np.uint64)),
                sequences=[random.integers(0, 2**31, n, dtype=np.int32) for n in lengths],
                deadline=None if i % 3 == 0 else float(random.uniform(0, 1e9)),
                priority=int(random.integers(-128, 128)),
                caller=int(random.integers(0, 2**64, dtype=np.uint64)),
                flow=int(random.integers(0, 2**64, dtype=np.uint64)),
                bulk=bool(i & 1),
                alone=bool(i & 2),
                output=list(Output)[i % 3],
            )
        )


def test_a_cancellation_arrives() -> None:
    for number in (1, 2**63, 2**64 - 1):
        assert same(Cancel(number))


@pytest.mark.parametrize("step", [None, STEP], ids=["no step", "step"])
def test_every_field_of_an_answer_arrives(
    random: np.random.Generator, step: StepTiming | None
) -> None:
    indices = random.permutation(1000)[:7].tolist()
    vectors = random.normal(size=(7, 33)).astype(np.float32)
    assert same(Answer(2**63, Results(indices, vectors, None, step)))
    error = Overloaded("QUEUE_FULL", "no room", retry_after=1.5, queued_tokens=3)
    assert same(Answer(2**63, Results(indices, None, error, step)))
    assert same(Answer(1, Results([0], None, EngineFailure("POISON_INPUT", "x" * 5000), step)))


@pytest.mark.parametrize("dimensions", [1, 128, 768, RESULT_BYTES])
def test_results_are_split_into_messages_of_bounded_size(
    random: np.random.Generator, dimensions: int
) -> None:
    texts = 3 if dimensions == RESULT_BYTES else 5000
    vectors = random.normal(size=(texts, dimensions)).astype(np.float32)
    parts = list(answers(9, Results(list(range(texts)), vectors, None, STEP)))
    arrived = [sent(part) for part in parts]
    indices, rows = [], []
    for part, message in zip(parts, arrived, strict=True):
        size = sum(len(each) for each in part.encode()[1])
        assert size <= RESULT_BYTES or len(part.results.indices) == 1
        assert isinstance(message, Answer) and message.number == 9
        assert message.results.step == STEP and message.results.vectors is not None
        indices += message.results.indices
        rows.append(message.results.vectors)
    assert indices == list(range(texts))
    np.testing.assert_array_equal(np.concatenate(rows), vectors)


@pytest.mark.parametrize("tokens", [1, 341, 2048])
def test_the_states_of_the_tokens_of_a_text_are_one_message(
    random: np.random.Generator, tokens: int
) -> None:
    rows = random.normal(size=(tokens, 768)).astype(np.float32)
    (part,) = answers(9, Results([5], rows, None, STEP))
    assert sum(map(len, part.encode()[1])) == token_states_bytes(tokens, 768)
    arrived = sent(part)
    assert isinstance(arrived, Answer) and arrived.results.indices == [5]
    assert arrived.results.vectors is not None
    np.testing.assert_array_equal(arrived.results.vectors, rows)


def test_rows_of_any_layout_arrive(random: np.random.Generator) -> None:
    single = random.normal(size=(40, 20)).astype(np.float32)
    for vectors in (single[::2, ::2], single.T, single[:, 3:4]):
        found = sent(Answer(1, Results(list(range(len(vectors))), vectors, None, STEP)))
        assert isinstance(found, Answer) and found.results.vectors is not None
        np.testing.assert_array_equal(found.results.vectors, vectors)


def test_a_record_that_is_no_message_is_an_error() -> None:
    with pytest.raises(KeyError):
        messages.decode(bytes(BODY_BYTES), np.zeros(0, np.uint8))
