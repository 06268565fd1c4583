"""What the scheduler computes next: budget, turns, priority, deadlines; and that it loses nothing."""

import heapq
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gemwire_server.engine.fair_queue import FairQueue
from gemwire_server.engine.interface import Output
from gemwire_server.engine.scheduler import Scheduler
from gemwire_server.errors import Overloaded
from support.scheduling import Clock, Owner, Recount, jain, lengths, texts


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scheduler(clock: Clock) -> Scheduler:
    return Scheduler(max_batch_tokens=100, max_queue_tokens=10_000, clock=clock)


def step(scheduler: Scheduler) -> list[int]:
    return lengths(scheduler.next_batch()[0])


def test_fills_the_budget_in_order_of_arrival(scheduler: Scheduler) -> None:
    scheduler.add(Owner(), texts(40, 50, 20))
    scheduler.add(Owner(), texts(100, 1))
    assert [step(scheduler) for _ in range(4)] == [[40, 50], [20], [100], [1]]
    assert scheduler.next_batch() == ([], [])
    assert scheduler.queued_tokens == 0 and len(scheduler) == 0


def test_a_text_over_the_budget_is_computed_alone(scheduler: Scheduler) -> None:
    scheduler.add(Owner(), texts(250, 10))
    assert step(scheduler) == [250]
    assert step(scheduler) == [10]


def test_what_could_never_be_computed_is_not_taken(scheduler: Scheduler) -> None:
    for sequences in ([], texts(3, 0)):
        with pytest.raises(ValueError, match="token"):
            scheduler.add(Owner(), sequences)
    assert scheduler.queued_tokens == 0 and len(scheduler) == 0


def test_a_query_does_not_wait_behind_somebody_elses_bulk_job(scheduler: Scheduler) -> None:
    for flow in range(5):
        scheduler.add(Owner(caller=1, flow=flow), texts(*[20] * 50))
    step(scheduler)
    scheduler.add(Owner(caller=2), texts(7))
    assert step(scheduler)[0] == 7


def test_callers_share_by_tokens_whatever_their_sizes_and_flows(clock: Clock) -> None:
    scheduler = Scheduler(max_batch_tokens=100, max_queue_tokens=10_000_000, clock=clock)
    random = np.random.default_rng(1)
    callers = {caller: 0 for caller in range(6)}
    for caller in callers:  # the last has fifty flows, and texts six times as long
        for flow in range(1 + 10 * caller):
            sizes = random.integers(1, 10 * (caller + 1), 2000 // (1 + 10 * caller)).tolist()
            scheduler.add(Owner(caller=caller, flow=flow), texts(*sizes))
    for _ in range(60):
        for item in scheduler.next_batch()[0]:
            callers[item.owner.caller] += len(item.input_ids)
        assert max(callers.values()) - min(callers.values()) <= 2 * 60
    assert jain(list(callers.values())) > 0.99


def test_flows_of_a_caller_share_its_turns(scheduler: Scheduler) -> None:
    """Three streams, one in many small submissions; the other caller gets half all the same."""
    scheduler.add(Owner(caller=1, flow=1), texts(*[25] * 100))
    for _ in range(100):
        scheduler.add(Owner(caller=1, flow=2), texts(10))
    scheduler.add(Owner(caller=1, flow=3), texts(*[5] * 100))
    scheduler.add(Owner(caller=2), texts(*[10] * 300))
    taken: Counter[tuple[int, int]] = Counter()
    for _ in range(12):
        for item in scheduler.next_batch()[0]:
            taken[item.owner.caller, item.owner.flow] += len(item.input_ids)
    assert abs(taken[2, 0] - 600) <= 50
    assert jain([taken[1, flow] for flow in (1, 2, 3)]) > 0.98


def test_priority_counts_within_a_callers_share_only(scheduler: Scheduler) -> None:
    scheduler.add(Owner(caller=1, priority=0), texts(*[10] * 20))
    scheduler.add(Owner(caller=1, priority=5, flow=3), texts(*[11] * 20))
    scheduler.add(Owner(caller=1, priority=-5), texts(*[9] * 20))
    scheduler.add(Owner(caller=2, priority=-10), texts(*[12] * 60))
    order = [size for _ in range(13) for size in step(scheduler)]
    mine = [size for size in order if size != 12]
    assert mine == sorted(mine, reverse=True)  # 11, then 10, then 9
    assert abs(order[:80].count(12) * 12 - sum(size for size in order[:80] if size != 12)) <= 24


def test_urgent_work_does_not_age_the_turns_of_the_rest(scheduler: Scheduler) -> None:
    scheduler.add(Owner(flow=1), texts(*[50] * 12))
    for _ in range(10):
        scheduler.add(Owner(flow=2, priority=5), texts(100))
        step(scheduler)
    scheduler.add(Owner(flow=3), texts(7))
    assert 7 in step(scheduler)


def test_a_dropped_owner_leaves_what_is_in_a_step_and_nothing_else(scheduler: Scheduler) -> None:
    owner, other = Owner(), Owner()
    scheduler.add(owner, texts(60, 60, 60))
    scheduler.add(other, texts(5))
    batch, _ = scheduler.next_batch()
    assert [(item.owner, item.index) for item in batch] == [(owner, 0)]
    assert scheduler.drop(owner) == [1, 2]
    assert scheduler.drop(owner) == []
    assert (scheduler.queued_tokens, len(scheduler)) == (5, 1)
    assert step(scheduler) == [5]


def test_expired_work_is_returned_once_and_not_computed(scheduler: Scheduler, clock: Clock) -> None:
    soon, later = Owner(deadline=101.0), Owner(deadline=103.0)
    scheduler.add(soon, texts(10, 11))
    scheduler.add(later, texts(20))
    scheduler.add(Owner(), texts(30))
    clock.now = 100.999
    assert scheduler.expire() == []
    clock.now = 101.0
    batch, expired = scheduler.next_batch()
    assert (lengths(batch), expired) == ([20, 30], [(soon, [0, 1])])
    clock.now = 200.0
    assert scheduler.expire() == []  # the other was computed


def test_what_the_step_would_compute_too_late_gives_way(scheduler: Scheduler, clock: Clock) -> None:
    scheduler.throughput.ended(100, 1.0)  # 100 tokens a second
    late, early, never = Owner(deadline=100.9), Owner(deadline=101.1, caller=2), Owner(caller=1)
    scheduler.add(late, texts(10))
    scheduler.add(early, texts(10))
    scheduler.add(never, texts(*[10] * 20))
    batch, expired = scheduler.next_batch()  # it will take a second
    assert expired == [(late, [0])]
    assert {item.owner for item in batch} == {early, never}


def test_a_wrong_rate_does_not_keep_the_last_one_from_being_computed(
    scheduler: Scheduler, clock: Clock
) -> None:
    scheduler.throughput.ended(100, 1000.0)
    for _ in range(3):
        scheduler.add(Owner(deadline=clock.now + 0.5), texts(50))
        assert step(scheduler) == [50]


def test_clearing_returns_everything(scheduler: Scheduler) -> None:
    owners = [Owner(caller=i % 3, flow=i % 5, priority=i % 2) for i in range(20)]
    for owner in owners:
        scheduler.add(owner, texts(5, 6))
    assert sorted(indices for _, indices in scheduler.clear()) == [[0, 1]] * 20
    assert (scheduler.queued_tokens, len(scheduler)) == (0, 0)
    assert scheduler.next_batch() == ([], [])


def test_random_traffic_loses_nothing() -> None:
    """Each text is computed, expired or dropped, and once; at every step the counts are those of a
    recount."""
    random = np.random.default_rng(9)
    clock = Clock()
    scheduler = Scheduler(max_batch_tokens=64, max_queue_tokens=4000, clock=clock)
    books = Recount(scheduler)
    refused = 0
    for _ in range(3000):
        clock.now += float(random.exponential(0.05))
        action = random.random()
        if action < 0.5:
            new = Owner(
                deadline=clock.now + float(random.exponential(1.0))
                if random.random() < 0.4
                else None,
                priority=int(random.integers(-2, 3)),
                caller=int(random.integers(5)),
                flow=int(random.integers(4)),
                bulk=bool(random.random() < 0.3),
            )
            try:
                books.add(new, random.integers(1, 90, random.integers(1, 9)).tolist())
            except Overloaded as error:
                refused += 1
                assert error.retry_after and error.retry_after >= 0.1
        elif action < 0.6 and books.left:
            gone = list(books.left)[int(random.integers(len(books.left)))]
            books.take(gone, scheduler.drop(gone))
            assert gone not in books.left
        elif action < 0.7:
            for owner, indices in scheduler.expire():
                assert owner.deadline is not None and owner.deadline <= clock.now
                books.take(owner, indices)
        else:
            batch, expired = scheduler.next_batch()
            for owner, indices in expired:
                books.take(owner, indices)
            for item in batch:
                assert item.owner.deadline is None or item.owner.deadline > clock.now
                books.take(item.owner, [item.index])
            assert sum(lengths(batch)) <= 64 or len(batch) == 1
            if batch:
                scheduler.throughput.ended(sum(lengths(batch)), sum(lengths(batch)) / 700)
        books.check()
    assert refused > 100
    while len(scheduler):
        batch, expired = scheduler.next_batch()
        for owner, indices in expired:
            books.take(owner, indices)
        for item in batch:
            books.take(item.owner, [item.index])
        books.check()
        clock.now += 0.01
        for owner, indices in scheduler.expire():
            books.take(owner, indices)
    assert not books.left and not scheduler._callers


def test_coming_and_going_piles_nothing_up_while_nothing_is_computed(
    scheduler: Scheduler, clock: Clock
) -> None:
    """One waits all the time; 20,000 others, with and without deadlines, come and give up."""
    scheduler.add(Owner(caller=1, flow=1, deadline=1e9), texts(10))
    scheduler.add(Owner(caller=1, flow=2), texts(10))
    for i in range(20_000):
        owner = Owner(
            caller=i % 7,
            flow=i % 11,
            priority=i % 3,
            deadline=None if i % 2 else clock.now + 1000 + i,
        )
        scheduler.add(owner, texts(5))
        scheduler.drop(owner)
        assert len(scheduler._deadlines) <= 64 + 2 * 3
    assert scheduler.queued_tokens == 20 and len(scheduler._waiting) == 2
    kept: list[FairQueue[Any]] = [
        scheduler._fair_queue,
        *(c.fair_queue for o in scheduler._callers.values() for c in o.priorities.values()),
    ]
    assert all(len(turns._heap) <= 1100 and len(turns._ends) <= 1024 for turns in kept)
    assert list(scheduler._callers) == [1] and list(scheduler._callers[1].priorities) == [0]


@pytest.mark.parametrize("owners", [1, 1000])
def test_dropping_expiring_and_refusing_many_texts_costs_as_much_as_they_are(
    owners: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in operations on the queue's parts: nothing is looked at twice."""
    calls: Counter[str] = Counter()

    def counted(name: str, function: Any) -> Any:
        def call(*args: Any) -> Any:
            calls[name] += 1
            return function(*args)

        return call

    monkeypatch.setattr(Scheduler, "_count", counted("count", Scheduler._count))
    # Not in the module itself, which others use meanwhile.
    own = SimpleNamespace(**{**vars(heapq), "heappop": counted("pop", heapq.heappop)})
    monkeypatch.setattr("gemwire_server.engine.scheduler.heapq", own)
    clock = Clock()
    scheduler = Scheduler(max_batch_tokens=100, max_queue_tokens=150_000, clock=clock)
    each = 100_000 // owners
    dropped = [Owner(caller=i) for i in range(owners // 2 or 1)]
    expiring = [Owner(caller=i, deadline=200.0) for i in range(owners - len(dropped))]
    for owner in dropped + expiring:
        scheduler.add(owner, texts(*[1] * each))
    calls.clear()
    for _ in range(1000):
        with pytest.raises(Overloaded):
            scheduler.add(Owner(caller=-1), texts(100_000))
    assert not calls  # refused before anything is touched
    for owner in dropped:
        assert len(scheduler.drop(owner)) == each
    assert calls == {"count": len(dropped)}
    clock.now = 200.0
    assert len(scheduler.expire()) == len(expiring)
    assert calls["count"] == owners and calls["pop"] <= 2 * owners
    assert scheduler.queued_tokens == 0


def test_a_step_has_one_output(scheduler: Scheduler) -> None:
    """Calls of a caller wait for those of their own output only."""
    scheduler.add(Owner(), texts(10, 11))
    scheduler.add(Owner(output=Output.RAW), texts(12, 13))
    scheduler.add(Owner(output=Output.TOKENS), texts(14))
    scheduler.add(Owner(output=Output.RAW), texts(15))
    assert [step(scheduler) for _ in range(4)] == [[10, 11], [12, 13, 15], [14], []]


def test_outputs_keep_the_turns_of_callers(scheduler: Scheduler) -> None:
    """Callers of three outputs get equal shares, whatever the others ask for."""
    random = np.random.default_rng(0)
    owners = {
        Owner(caller=caller, output=output): caller
        for caller, output in enumerate((Output.UNIT, Output.RAW, Output.TOKENS, Output.UNIT))
    }
    for owner in owners:
        scheduler.add(owner, texts(*random.integers(1, 30, 150)))
    shares = dict.fromkeys(owners.values(), 0)
    while min(shares.values()) < 1000:
        items, _ = scheduler.next_batch()
        assert len({item.owner.output for item in items}) == 1
        assert sum(lengths(items)) <= 100
        for item in items:
            shares[owners[item.owner]] += len(item.input_ids)  # type: ignore[index]
    assert jain(list(shares.values())) > 0.99


def test_another_output_does_not_make_steps_small(scheduler: Scheduler) -> None:
    """Callers who take turns, and the flows of a caller, fill a step with one output. The other is next."""
    scheduler.add(Owner(caller=1), texts(*[10] * 15))
    scheduler.add(Owner(caller=2, output=Output.TOKENS), texts(*[10] * 4))
    scheduler.add(Owner(caller=3, flow=1), texts(*[5] * 4))
    scheduler.add(Owner(caller=3, flow=2, output=Output.TOKENS), texts(*[6] * 4))
    first, second, third = (scheduler.next_batch()[0] for _ in range(3))
    assert sorted(lengths(first)) == [*[5] * 4, *[10] * 8]
    assert sorted(lengths(second)) == [*[6] * 4, *[10] * 4]
    assert lengths(third) == [10] * 7 and len(scheduler) == 0


def test_a_query_waits_a_step_at_most_behind_another_output(scheduler: Scheduler) -> None:
    scheduler.add(Owner(caller=1), texts(*[10] * 100))
    scheduler.add(Owner(caller=2, output=Output.TOKENS), texts(*[10] * 100))
    for _ in range(5):
        step(scheduler)
        scheduler.add(Owner(caller=3), texts(7))
        assert 7 in step(scheduler) + step(scheduler)


def test_single_calls_of_two_outputs_make_full_steps(scheduler: Scheduler) -> None:
    """As they come from one caller, such as a gateway: each would else end the step of the one before."""
    for _ in range(20):
        for output in (Output.UNIT, Output.RAW):
            scheduler.add(Owner(output=output), texts(10))
    assert [step(scheduler) for _ in range(4)] == [[10] * 10] * 4
    assert len(scheduler) == 0
