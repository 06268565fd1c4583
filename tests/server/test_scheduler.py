"""The scheduler with a clock of its own and no model."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from gemwire_server.errors import Overloaded
from gemwire_server.scheduler import REQUEST_TOO_LARGE, Flow, Item, Scheduler


@dataclass
class Owner:
    deadline: float | None = None
    cancelled: bool = False
    flow: Flow = field(default_factory=Flow)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def item(length: int, owner: Owner | None = None, index: int = 0) -> Item:
    return Item(owner or Owner(), index, np.zeros(length, np.int32))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scheduler(clock: Clock) -> Scheduler:
    return Scheduler(max_batch_tokens=100, max_queue_tokens=1000, clock=clock)


def lengths(items: list[Item]) -> list[int]:
    return [len(i.input_ids) for i in items]


def test_fills_the_budget_in_order_of_arrival(scheduler: Scheduler) -> None:
    scheduler.add([item(40), item(50), item(20), item(100), item(1)])
    assert [lengths(scheduler.next_batch()[0]) for _ in range(4)] == [[40, 50], [20], [100], [1]]
    assert scheduler.next_batch() == ([], [])
    assert scheduler.queued_tokens == 0


def test_a_text_over_the_budget_is_computed_alone(scheduler: Scheduler) -> None:
    scheduler.add([item(250), item(10)])
    assert lengths(scheduler.next_batch()[0]) == [250]
    assert lengths(scheduler.next_batch()[0]) == [10]


def test_a_query_does_not_wait_behind_a_bulk_job(scheduler: Scheduler) -> None:
    bulk, query = Owner(), Owner()
    scheduler.add([item(50, bulk, i) for i in range(10)])
    assert lengths(scheduler.next_batch()[0]) == [50, 50]
    scheduler.add([item(7, query)])
    assert 7 in lengths(scheduler.next_batch()[0])


def test_flows_take_turns_by_tokens(scheduler: Scheduler) -> None:
    """Three flows with texts of other sizes: at every moment, equal shares but for one text."""
    flows = {10: Flow(), 25: Flow(), 50: Flow()}
    for size, flow in flows.items():
        owner = Owner(flow=flow)
        scheduler.add([item(size, owner) for _ in range(300 // size)])
    computed = dict.fromkeys(flows, 0)
    for _ in range(8):
        for size in lengths(scheduler.next_batch()[0]):
            computed[size] += size
        assert max(computed.values()) - min(computed.values()) <= 100
    assert len(scheduler) > 0


def test_submissions_of_one_flow_share_its_turns(scheduler: Scheduler) -> None:
    stream = Flow()
    for _ in range(4):  # a stream that sends in many pieces gains nothing by it
        scheduler.add([item(50, Owner(flow=stream))])
    scheduler.add([item(49), item(51, Owner(flow=Flow()))])
    assert sorted(lengths(scheduler.next_batch()[0])) == [49, 50]


def test_a_flow_that_was_silent_saves_up_no_turns(scheduler: Scheduler) -> None:
    busy, idle = Owner(flow=Flow()), Owner(flow=Flow())
    for _ in range(20):
        scheduler.add([item(100, busy)])
        scheduler.next_batch()
    scheduler.add([item(50, busy) for _ in range(4)])
    scheduler.add([item(50, idle) for _ in range(4)])
    taken = [scheduler.next_batch()[0] for _ in range(4)]
    idle_share = sum(i.owner is idle for batch in taken[:3] for i in batch)
    assert 2 <= idle_share <= 4


def test_urgent_work_does_not_age_the_turns_of_the_rest(scheduler: Scheduler) -> None:
    bulk, urgent = Owner(), Owner()
    scheduler.add([item(50, bulk) for _ in range(12)])
    for _ in range(10):
        scheduler.add([item(100, urgent)], priority=5)
        scheduler.next_batch()
    scheduler.add([item(7)])
    assert 7 in lengths(scheduler.next_batch()[0] + scheduler.next_batch()[0])


def test_higher_priority_first_then_arrival(scheduler: Scheduler) -> None:
    scheduler.add([item(1), item(2)], priority=0)
    scheduler.add([item(3)], priority=5)
    scheduler.add([item(4)], priority=-1)
    scheduler.add([item(5)], priority=5)
    assert lengths(scheduler.next_batch()[0]) == [3, 5, 1, 2, 4]


def test_cancelled_work_is_not_computed_and_holds_no_room(scheduler: Scheduler) -> None:
    gone = Owner()
    scheduler.add([item(600, gone), item(10)])
    gone.cancelled = True
    assert scheduler.purge() == []
    assert scheduler.queued_tokens == 10
    assert lengths(scheduler.next_batch()[0]) == [10]


def test_expired_work_is_returned_and_not_computed(scheduler: Scheduler, clock: Clock) -> None:
    soon, later = Owner(deadline=101.0), Owner(deadline=103.0)
    scheduler.add([item(10, soon), item(20, later), item(30)])
    clock.now = 101.0
    batch, expired = scheduler.next_batch()
    assert (lengths(batch), lengths(expired)) == ([20, 30], [10])
    scheduler.add([item(10, Owner(deadline=102.0)), item(5)])
    clock.now = 102.5
    assert lengths(scheduler.purge()) == [10]
    assert scheduler.queued_tokens == 5


def test_a_full_queue_refuses_whole_requests_and_says_when(scheduler: Scheduler) -> None:
    scheduler.observe(tokens=100, seconds=0.5)  # 200 tokens a second
    scheduler.add([item(400), item(500)])
    with pytest.raises(Overloaded) as caught:
        scheduler.add([item(60), item(60)])
    assert caught.value.reason == "QUEUE_FULL"
    assert caught.value.retry_after == pytest.approx(4.5)
    assert (len(scheduler), scheduler.queued_tokens) == (2, 900)
    scheduler.add([item(100)])
    assert scheduler.queued_tokens == 1000


def test_what_never_fits_says_so(scheduler: Scheduler) -> None:
    with pytest.raises(Overloaded) as caught:
        scheduler.add([item(1001)])
    assert caught.value.reason == REQUEST_TOO_LARGE


def test_a_guess_refuses_only_behind_others(scheduler: Scheduler) -> None:
    scheduler.check_room(coming=0, guess=5000)  # may be wrong, and nothing else waits
    scheduler.add([item(100)])
    scheduler.check_room(coming=0, guess=900)
    with pytest.raises(Overloaded):
        scheduler.check_room(coming=1, guess=900)


def test_random_traffic_loses_nothing() -> None:
    """Whatever is added is computed, expired or cancelled, exactly once, within the budget."""
    random = np.random.default_rng(9)
    clock = Clock()
    scheduler = Scheduler(max_batch_tokens=64, max_queue_tokens=4000, clock=clock)
    added: list[Item] = []
    ended: list[Item] = []
    for _ in range(2000):
        clock.now += float(random.exponential(0.1))
        owner = Owner(deadline=clock.now + 0.5 if random.random() < 0.3 else None)
        items = [item(int(n), owner) for n in random.integers(1, 90, random.integers(1, 5))]
        try:
            scheduler.add(items, int(random.integers(-2, 3)))
            added += items
        except Overloaded:
            pass
        if random.random() < 0.2 and added:
            added[int(random.integers(len(added)))].owner.cancelled = True
        if random.random() < 0.5:
            batch, expired = scheduler.next_batch()
            assert sum(lengths(batch)) <= 64 or len(batch) == 1
            assert not any(i.owner.cancelled for i in batch)
            ended += batch + expired
        if random.random() < 0.1:
            ended += scheduler.purge()
    while len(scheduler):
        batch, expired = scheduler.next_batch()
        ended += batch + expired
    assert scheduler.queued_tokens == 0
    seen = {id(i) for i in ended}
    assert len(seen) == len(ended)
    assert all(id(i) in seen or i.owner.cancelled for i in added)
