"""What the queue takes, what it refuses and with which advice; overload, simulated."""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest

from gemwire_server.engine.admission import CAUTION, REQUEST_TOO_LARGE
from gemwire_server.engine.scheduler import Item, Scheduler
from gemwire_server.errors import InvalidInput, Overloaded
from support.scheduling import Clock, Owner, lengths, texts


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scheduler(clock: Clock) -> Scheduler:
    return Scheduler(max_batch_tokens=100, max_queue_tokens=1000, clock=clock)


def reason(scheduler: Scheduler, owner: Owner, *sizes: int) -> str:
    """Why it is refused; empty if it is not."""
    before = scheduler.queued_tokens, len(scheduler)
    try:
        scheduler.add(owner, texts(*sizes))
    except Overloaded as error:
        assert (scheduler.queued_tokens, len(scheduler)) == before, (
            "refused, and yet something stayed"
        )
        return error.reason
    return ""


def test_a_full_queue_refuses_whole_requests_and_says_when(scheduler: Scheduler) -> None:
    scheduler.throughput.ended(100, 0.5)  # 200 tokens a second
    scheduler.add(Owner(), texts(500, 400))
    with pytest.raises(Overloaded) as caught:
        scheduler.add(Owner(caller=2), texts(50, 51))
    assert caught.value.reason == "QUEUE_FULL"
    assert caught.value.retry_after == pytest.approx(900 / 200)
    assert caught.value.metadata == {"queued_tokens": "900", "max_queue_tokens": "1000"}
    assert reason(scheduler, Owner(caller=2), 100) == ""


def test_what_never_fits_says_so(scheduler: Scheduler) -> None:
    with pytest.raises(InvalidInput) as caught:
        scheduler.add(Owner(), texts(1000, 1))
    assert caught.value.reason == REQUEST_TOO_LARGE
    assert caught.value.metadata == {"tokens": "1001", "limit": "1000"}
    assert (scheduler.queued_tokens, len(scheduler)) == (0, 0)
    scheduler.add(Owner(), texts(999, 1))


def test_a_caller_alone_gets_most_of_the_queue_and_two_get_less_each(scheduler: Scheduler) -> None:
    def fill(*callers: int) -> list[int]:
        open_ones = list(callers)
        while open_ones:
            for caller in list(open_ones):
                refused = reason(scheduler, Owner(caller=caller, flow=caller), 10)
                if refused:
                    assert refused == "CALLER_QUEUE_FULL"
                    open_ones.remove(caller)
        return [scheduler._callers[caller].tokens for caller in callers]

    assert fill(1) == [800]  # four times what is free
    assert reason(scheduler, Owner(caller=2), 150) == ""  # and the next one finds room
    scheduler.clear()
    assert fill(1, 2) == [440, 440]
    scheduler.clear()
    assert fill(1, 2, 3, 4) == [240, 240, 230, 230]  # by turns, and 60 are free


def test_streams_leave_an_eighth_to_unary_calls(scheduler: Scheduler) -> None:
    for caller in range(20):
        refused = reason(scheduler, Owner(caller=caller, bulk=True), 80)
        if refused:
            break
    assert (refused, scheduler.queued_tokens) == ("QUEUE_FULL", 800)
    assert reason(scheduler, Owner(caller=50, bulk=True), 75) == ""
    assert reason(scheduler, Owner(caller=51, bulk=True), 1) == "QUEUE_FULL"
    assert reason(scheduler, Owner(caller=52), 125) == ""


def test_a_guess_refuses_only_behind_others_and_only_over_the_share(scheduler: Scheduler) -> None:
    scheduler.check_room(coming=0, guess=5000, caller=1)  # may be wrong, and nothing else waits
    scheduler.add(Owner(caller=1), texts(600))
    scheduler.check_room(coming=0, guess=400, caller=2)
    for coming, guess, caller, why in (
        (1, 400, 2, "QUEUE_FULL"),
        (0, 210, 1, "CALLER_QUEUE_FULL"),
        (60, 170, 1, "CALLER_QUEUE_FULL"),
    ):
        with pytest.raises(Overloaded) as caught:
            scheduler.check_room(coming, guess, caller=caller)
        assert caught.value.reason == why
    scheduler.check_room(coming=0, guess=200, caller=1)


class TestDeadlines:
    """100 tokens a second, 100 a step."""

    @pytest.fixture(autouse=True)
    def measured(self, scheduler: Scheduler) -> None:
        scheduler.throughput.ended(100, 1.0)

    def test_what_the_callers_own_backlog_makes_late_is_refused_at_once(
        self, scheduler: Scheduler, clock: Clock
    ) -> None:
        scheduler.add(Owner(), texts(*[100] * 4))
        assert reason(scheduler, Owner(deadline=clock.now + 4.9), 100) == "DEADLINE_UNREACHABLE"
        assert reason(scheduler, Owner(deadline=clock.now + 5.0 / CAUTION), 100) == ""

    def test_a_small_share_is_served_in_time_however_long_the_queue_is(
        self, scheduler: Scheduler, clock: Clock
    ) -> None:
        scheduler.add(Owner(caller=1), texts(*[20] * 35))
        for caller in range(2, 6):  # each of the others has little, and takes no more than that
            scheduler.add(Owner(caller=caller), texts(5))
        assert reason(scheduler, Owner(caller=9, deadline=clock.now + 1.0 / CAUTION), 10) == ""
        assert reason(scheduler, Owner(caller=10, deadline=clock.now + 0.9), 10) == (
            "DEADLINE_UNREACHABLE"  # a step of a hundred tokens, of any caller
        )
        batch, _ = scheduler.next_batch()
        assert 9 in {item.owner.caller for item in batch}

    def test_another_flow_and_a_lower_priority_do_not_count(
        self, scheduler: Scheduler, clock: Clock
    ) -> None:
        scheduler.add(Owner(flow=1), texts(*[100] * 3))
        scheduler.add(Owner(flow=2, priority=-1), texts(*[100] * 3))
        soon = clock.now + 1.0 / CAUTION
        assert reason(scheduler, Owner(flow=5, deadline=soon), 20) == ""
        assert reason(scheduler, Owner(flow=1, deadline=soon), 20) == "DEADLINE_UNREACHABLE"
        assert reason(scheduler, Owner(priority=-1, deadline=soon), 20) == "DEADLINE_UNREACHABLE"
        assert reason(scheduler, Owner(priority=1, flow=1, deadline=soon), 20) == ""

    def test_the_step_under_way_counts(self, scheduler: Scheduler, clock: Clock) -> None:
        scheduler.add(Owner(caller=1), texts(100, 100))
        scheduler.next_batch()
        clock.now += 0.25
        query = Owner(caller=2, deadline=clock.now + 1.5)
        assert reason(scheduler, query, 10) == "DEADLINE_UNREACHABLE"
        query.deadline = clock.now + 1.76 / CAUTION
        assert reason(scheduler, query, 10) == ""

    def test_a_guess_is_refused_for_the_callers_own_backlog(
        self, scheduler: Scheduler, clock: Clock
    ) -> None:
        scheduler.add(Owner(caller=1), texts(100, 100))
        soon, later = clock.now + 2.9, clock.now + 3.0 / CAUTION + 0.01
        with pytest.raises(Overloaded) as caught:
            scheduler.check_room(0, 100, caller=1, deadline=soon)
        assert caught.value.reason == "DEADLINE_UNREACHABLE"
        scheduler.check_room(0, 100, caller=1, deadline=later)
        scheduler.check_room(0, 100, caller=2, deadline=soon)

    def test_streams_and_what_is_alone_are_not_refused(
        self, scheduler: Scheduler, clock: Clock
    ) -> None:
        assert reason(scheduler, Owner(deadline=clock.now + 0.1), 400) == ""
        assert reason(scheduler, Owner(caller=2, bulk=True, deadline=clock.now + 0.1), 100) == ""


class TestRate:
    def test_nothing_is_refused_for_its_deadline_before_a_rate_is_known(
        self, scheduler: Scheduler, clock: Clock
    ) -> None:
        scheduler.throughput.ended(5, 1.0)  # a warm-up of one short text says nothing of full steps
        assert scheduler.token_rate is None
        scheduler.add(Owner(), texts(500))
        assert reason(scheduler, Owner(deadline=clock.now + 0.01), 10) == ""

    def test_small_steps_do_not_spoil_it(self, scheduler: Scheduler) -> None:
        scheduler.throughput.ended(100, 0.1)
        for _ in range(100):
            scheduler.throughput.ended(3, 0.09)
        assert scheduler.token_rate == pytest.approx(1000)

    @pytest.mark.parametrize(("seconds", "factor"), [(100.0, 0.9), (0.0, 1.2)])
    def test_one_strange_step_moves_it_little(
        self, scheduler: Scheduler, seconds: float, factor: float
    ) -> None:
        scheduler.throughput.ended(100, 0.1)
        scheduler.throughput.ended(100, seconds)
        assert scheduler.token_rate == pytest.approx(1000 * factor)

    def test_it_follows_a_device_that_has_changed(self, scheduler: Scheduler) -> None:
        for truth in (1000, 100, 3000):
            for _ in range(40):
                scheduler.throughput.ended(100, 100 / truth)
            assert scheduler.token_rate == pytest.approx(truth, rel=0.05)

    def test_small_steps_raise_a_rate_that_was_too_low(self, scheduler: Scheduler) -> None:
        scheduler.throughput.ended(100, 10.0)
        for _ in range(40):
            scheduler.throughput.ended(20, 0.02)
        assert scheduler.token_rate == pytest.approx(1000, rel=0.05)


@dataclass
class Simulation:
    """Calls that arrive at random, each of one text with a deadline, and a device with a rate."""

    load: float
    deadline: float
    max_batch_tokens: int
    rate: float = 20_000.0
    seconds: float = 15.0
    good_tokens: int = 0
    late_tokens: int = 0
    refused: int = 0
    expired: int = 0
    clock: Clock = field(default_factory=lambda: Clock(0.0))

    def run(self) -> "Simulation":
        dice = random.Random(5)
        scheduler = Scheduler(
            max_batch_tokens=self.max_batch_tokens, max_queue_tokens=131_072, clock=self.clock
        )
        sizes = (16, 64, 64, 128, 400)
        ids = {size: np.zeros(size, np.int32) for size in sizes}
        arrival, ends, step = 0.0, float("inf"), list[Item]()
        while arrival < self.seconds:
            self.clock.now = min(arrival, ends)
            if arrival < ends:
                try:
                    owner = Owner(deadline=arrival + self.deadline, caller=dice.randrange(8))
                    scheduler.add(owner, [ids[dice.choice(sizes)]])
                except Overloaded:
                    self.refused += 1
                arrival += dice.expovariate(self.load * self.rate * len(sizes) / sum(sizes))
            else:
                tokens = sum(lengths(step))
                scheduler.throughput.ended(tokens, tokens / self.rate)
                late = [item for item in step if (item.owner.deadline or 0) < ends]
                self.late_tokens += sum(lengths(late))
                self.good_tokens += tokens - sum(lengths(late))
                ends, step = float("inf"), []
            if not step:
                step, expired = scheduler.next_batch()
                self.expired += sum(len(indices) for _, indices in expired)
                if step:
                    tokens = sum(lengths(step))
                    ends = self.clock.now + tokens / self.rate * dice.uniform(0.9, 1.1)
        return self

    @property
    def goodput(self) -> float:
        """The part of the device's capacity that came in time."""
        return self.good_tokens / (self.rate * self.seconds)


@pytest.mark.parametrize("deadline", [0.3, 1.0, 3.0])
@pytest.mark.parametrize(("load", "least"), [(2.0, 0.95), (5.0, 0.9)])
def test_an_overloaded_device_computes_what_is_still_in_time(
    load: float, least: float, deadline: float
) -> None:
    found = Simulation(load, deadline, max_batch_tokens=2048).run()
    assert found.goodput > least, found
    assert found.late_tokens < 0.05 * found.good_tokens, found


def test_below_its_capacity_nothing_is_refused() -> None:
    found = Simulation(0.7, 0.5, max_batch_tokens=2048).run()
    assert (found.refused, found.expired, found.late_tokens) == (0, 0, 0)
