"""The rules of admission against the same rules counted out token by token, on random figures."""

import os
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from gemwire_server.engine.admission import (
    QueueState,
    check_size,
    compute_seconds,
    tokens_until_done,
)
from gemwire_server.errors import InvalidInput, Overloaded


@pytest.fixture
def random() -> np.random.Generator:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    return np.random.default_rng(seed)


def states(random: np.random.Generator, count: int) -> Iterator[QueueState]:
    for _ in range(count):
        limit = int(random.integers(1, 2000))
        queued = int(random.integers(0, limit + 1)) * int(random.integers(2))
        yield QueueState(
            queued_tokens=queued,
            max_queue_tokens=limit,
            caller_tokens=int(random.integers(0, queued + 1)) * int(random.integers(2)),
            token_rate=float(random.choice([0.0, 64.0, 1000.0])),
        )


def refused(check: object, *arguments: object, **options: object) -> Overloaded | None:
    assert callable(check)
    try:
        check(*arguments, **options)
    except Overloaded as error:
        return error
    return None


def test_shares_leave_room_for_others_and_an_eighth_to_unary_calls(
    random: np.random.Generator,
) -> None:
    seen = set[str]()
    for queue in states(random, 3000):
        tokens, coming = int(random.integers(1, 800)), int(random.integers(0, 300))
        bulk = bool(random.integers(2))
        free = queue.max_queue_tokens - queue.queued_tokens - coming - tokens
        kept = Fraction(queue.max_queue_tokens, 8) if bulk else 0
        if free < kept:
            expected = "QUEUE_FULL"
        elif queue.caller_tokens and queue.caller_tokens + tokens > 4 * free:
            expected = "CALLER_QUEUE_FULL"
        else:
            expected = ""
        error = refused(queue.check_share, tokens, coming=coming, bulk=bulk)
        assert (error.reason if error else "") == expected, (queue, tokens, coming, bulk)
        seen.add(expected)
    assert seen == {"", "QUEUE_FULL", "CALLER_QUEUE_FULL"}


def test_a_refusal_says_when_the_queue_will_be_empty(random: np.random.Generator) -> None:
    for queue in states(random, 500):
        error = refused(queue.check_share, 4000)
        assert error is not None
        assert error.metadata == {
            "queued_tokens": str(queue.queued_tokens),
            "max_queue_tokens": str(queue.max_queue_tokens),
        }
        assert f"{queue.queued_tokens} of {queue.max_queue_tokens} tokens wait" in error.message
        drained = queue.queued_tokens / queue.token_rate if queue.token_rate else 1.0
        assert error.retry_after == max(0.1, drained)


def test_a_request_larger_than_the_queue_is_refused_for_good(random: np.random.Generator) -> None:
    for limit in random.integers(1, 10_000, 100).tolist():
        check_size(limit, limit)
        with pytest.raises(InvalidInput) as caught:
            check_size(limit + 1, limit)
        assert caught.value.reason == "REQUEST_TOO_LARGE"
        assert f"{limit + 1} tokens" in caught.value.message


@pytest.mark.parametrize(
    ("wait", "left", "is_refused"),
    [
        (0.89, 1.0, False),
        (0.91, 1.0, True),
        (9.0, -1.0, False),  # has expired: the queue removes it, with another error
        (9.0, 0.0, False),
    ],
)
def test_a_call_waits_for_at_most_nine_tenths_of_its_time(
    wait: float, left: float, is_refused: bool
) -> None:
    queue = QueueState(queued_tokens=10, max_queue_tokens=100, caller_tokens=0, token_rate=10.0)
    error = refused(queue.check_deadline, wait, left)
    assert (error is not None) is is_refused
    if error is not None:
        assert error.reason == "DEADLINE_UNREACHABLE" and f"{wait:.3g} s" in error.message
        assert error.retry_after == 1.0


def test_a_guess_with_the_queue_to_itself_is_let_through() -> None:
    empty = QueueState(queued_tokens=0, max_queue_tokens=10, caller_tokens=0, token_rate=1.0)
    empty.check_room(0, 1000, seconds_left=0.001)
    assert refused(empty.check_room, 1, 1000, seconds_left=None) is not None


def counted_out(
    own: int, flows: list[int], higher: int, callers: list[int], max_batch_tokens: int
) -> tuple[int, int]:
    """(tokens computed until the flow has had `own`, full steps they take) one token a turn each."""
    flows, callers, computed, mine = list(flows), list(callers), 0, 0
    order = []  # the turns of the own caller, until its flow is done
    order += ["higher"] * higher
    while mine < own:
        for i, left in enumerate(flows):
            if left:
                flows[i] -= 1
                order.append("flow")
        mine += 1
        order.append("own")
    for _ in order:
        for i, left in enumerate(callers):
            if left:
                callers[i] -= 1
                computed += 1
        computed += 1
    steps = 0
    while steps * max_batch_tokens < computed:
        steps += 1
    return computed, steps


def test_the_wait_is_what_turns_counted_one_by_one_take(random: np.random.Generator) -> None:
    for _ in range(300):
        tokens, same_flow = int(random.integers(1, 40)), int(random.integers(0, 40))
        flows = random.integers(0, 60, random.integers(0, 4)).tolist()
        callers = random.integers(0, 200, random.integers(0, 4)).tolist()
        higher, budget = int(random.integers(0, 30)), int(random.integers(1, 50))
        expected, steps = counted_out(tokens + same_flow, flows, higher, callers, budget)
        found = tokens_until_done(
            tokens,
            same_flow=same_flow,
            other_flows=flows,
            higher_priorities=higher,
            other_callers=callers,
        )
        assert found == expected
        waiting = tokens + same_flow + sum(flows) + sum(callers) + higher
        seconds = compute_seconds(found, waiting=waiting, max_batch_tokens=budget, token_rate=100.0)
        assert seconds == min(steps * budget, waiting) / 100.0
