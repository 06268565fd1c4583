"""Turns by themselves: equal shares, newcomers at once, nothing saved up, nothing piled up."""

import numpy as np
import pytest

from gemwire_server.engine.fair_queue import REMEMBERED, FairQueue
from support.scheduling import jain


def test_shares_are_equal_at_every_moment_whatever_the_sizes() -> None:
    random = np.random.default_rng(0)
    turns, taken = FairQueue[int](), dict.fromkeys(range(8), 0)
    for child in taken:
        turns.join(child)
    for _ in range(4000):
        child = turns.first()
        size = int(
            random.integers(1, 20 * (child + 1))
        )  # the last one's texts are eight times as long
        turns.take(child, size)
        taken[child] += size
        assert max(taken.values()) - min(taken.values()) <= 2 * 160
    assert jain(list(taken.values())) > 0.999


def test_a_newcomer_is_next_at_once() -> None:
    turns = FairQueue[int]()
    for child in (1, 2, 3):
        turns.join(child)
    for _ in range(100):
        turns.take(turns.first(), 50)
    turns.join(9)
    assert turns.first() == 9
    turns.take(9, 50)
    assert turns.first() != 9


def test_who_was_silent_has_saved_up_nothing() -> None:
    turns = FairQueue[int]()
    turns.join(1)
    turns.join(2)
    turns.leave(2)
    for _ in range(1000):
        turns.take(turns.first(), 10)
    turns.join(2)
    order = []
    for _ in range(20):
        order.append(turns.first())
        turns.take(order[-1], 10)
    assert abs(order.count(1) - order.count(2)) <= 1


def test_leaving_and_coming_back_gains_no_turn() -> None:
    """A child that takes one text at a time gets as much as one that always waits, not more."""
    turns, taken = FairQueue[int](), {1: 0, 2: 0}
    turns.join(1)
    for _ in range(1000):
        if 2 not in turns:
            turns.join(2)
        child = turns.first()
        turns.take(child, 10)
        taken[child] += 10
        if child == 2:
            turns.leave(2)
    assert abs(taken[1] - taken[2]) <= 20


@pytest.mark.parametrize("somebody_stays", [True, False])
def test_coming_and_going_piles_nothing_up(somebody_stays: bool) -> None:
    turns = FairQueue[int]()
    if somebody_stays:
        turns.join(-1)
        turns.take(-1, 10)
    for _ in range(20_000):  # nothing is taken
        turns.join(7)
        turns.leave(7)
    for child in range(20_000):  # each takes one text, ends in the future, and is never seen again
        turns.join(child)
        if turns.first() == child:
            turns.take(child, 1000)
        turns.leave(child)
        assert len(turns._heap) <= REMEMBERED + 8 and len(turns._ends) <= REMEMBERED
    assert len(turns) == somebody_stays


def test_an_end_counts_while_others_wait_and_is_forgotten_with_the_last() -> None:
    turns = FairQueue[int]()
    for child in (1, 2):
        turns.join(child)
    turns.take(1, 500)
    turns.leave(1)
    turns.join(1)
    assert turns.first() == 2  # what 1 took is not forgotten
    turns.leave(1)
    turns.leave(2)
    assert not turns._ends and not turns._heap
    turns.join(3)
    turns.join(1)
    assert turns.first() == 3
    turns.take(3, 10)
    assert turns.first() == 1


def test_a_child_that_was_set_aside_makes_up_for_it() -> None:
    turns, order = FairQueue[int](), list[int]()
    for child in (1, 2, 3):
        turns.join(child)
    for round in range(100):
        turns.set_aside(1 + round % 2)
        assert turns.has_turn
        for _ in range(30):
            order.append(turns.first())
            assert order[-1] != 1 + round % 2
            turns.take(order[-1], 10)
        turns.bring_back()
    assert max(map(order.count, (1, 2, 3))) - min(map(order.count, (1, 2, 3))) <= 60
    for child in (1, 2, 3):
        turns.set_aside(child)
    assert not turns.has_turn
    turns.leave(2)
    turns.bring_back()
    assert turns.first() in (1, 3)
