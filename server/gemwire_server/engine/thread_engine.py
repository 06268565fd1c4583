"""The engine in threads of this process."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.delivery import (
    Delivery,
    expired,
    lost,
    notify,
    poison,
    stopped,
    submission_of,
)
from gemwire_server.engine.interface import EngineState, Observer, Runner, Submission
from gemwire_server.engine.packing import PackedBatch, TokenIds, pack
from gemwire_server.engine.poison_search import PoisonSearch
from gemwire_server.engine.scheduler import Dropped, Item, Scheduler
from gemwire_server.errors import DeviceLost, GemwireError

log = logging.getLogger(__name__)

# The interpreter's thread switch interval in an engine's process. At the default of 5 ms a thread that
# computes in Python delays each hand-over between threads by that much.
SWITCH_INTERVAL_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class _Step:
    items: list[Item]
    packed: PackedBatch
    started: float
    wait: Callable[[], NDArray[np.float32]]
    search: PoisonSearch[Item] | None

    def unresolved(self) -> list[Item]:
        """The texts that depend on this step, in it or not."""
        return self.items if self.search is None else self.search.unresolved()


class ThreadEngine:
    """Runs a model in two threads: one begins steps, one waits for them and delivers their results.

    A step begins while another is under way only once a whole budget waits: no text that comes later could
    have joined it. A smaller step is formed at the moment that the device comes free.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        max_batch_tokens: int,
        max_queue_tokens: int,
        on_death: Callable[[], None] = lambda: None,
        observer: Observer | None = None,
    ) -> None:
        """A thread of the engine calls `on_death` if the engine cannot go on."""
        self._runner = runner
        self._on_death = on_death
        self._observer = observer or Observer()
        self._delivery = Delivery(self._observer)
        self._scheduler = Scheduler(
            max_batch_tokens=max_batch_tokens,
            max_queue_tokens=max_queue_tokens,
            clock=time.monotonic,
        )
        self._changed = threading.Condition()
        self._under_way = 0
        self._begun: SimpleQueue[_Step | None] = SimpleQueue()  # at most `depth`, then None
        self._searches: deque[PoisonSearch[Item]] = deque()  # at most `depth`
        self._alone: WeakSet[Submission] = WeakSet()
        self._closing = False
        self._abandoned = False
        self._dead = False
        self._threads = [
            threading.Thread(target=self._begin_loop, name="gemwire-begin"),
            threading.Thread(target=self._end_loop, name="gemwire-device"),
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, sequences: Sequence[TokenIds], submission: Submission) -> None:
        with self._changed:
            if self._closing:
                raise stopped()
            self._expire()
            self._scheduler.add(submission, sequences)
            if submission.alone:
                self._alone.add(submission)
            notify(self._observer.accepted, len(sequences))
            self._notify_queue()
            self._changed.notify_all()

    def cancel(self, submission: Submission) -> None:
        with self._changed:
            submission.cancelled = True
            if indices := self._scheduler.drop(submission):
                notify(self._observer.dropped, "cancelled", len(indices))
                self._notify_queue()

    def check_room(
        self, coming: int, guess: int, *, caller: int, deadline: float | None = None
    ) -> None:
        with self._changed:
            if self._closing:
                raise stopped()
            self._expire()
            self._scheduler.check_room(coming, guess, caller=caller, deadline=deadline)

    def state(self) -> EngineState:
        with self._changed:
            self._expire()
            return EngineState(
                queued_tokens=self._scheduler.queued_tokens,
                token_rate=self._scheduler.token_rate or 0.0,
            )

    def abandon(self) -> None:
        with self._changed:
            self._closing = self._abandoned = True
            self._drop(self._scheduler.clear(), "abandoned", stopped())
            while self._searches:
                self._delivery.fail(self._searches.popleft().unresolved(), "abandoned", stopped())
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _expire(self) -> None:
        """Removes expired texts, which must not keep other texts out."""
        self._drop(self._scheduler.expire(), "expired", expired())

    def _drop(self, dropped: Sequence[Dropped], reason: str, error: GemwireError) -> None:
        if dropped:
            self._notify_queue()
            self._delivery.drop(dropped, reason, error)

    def _notify_queue(self) -> None:
        scheduler = self._scheduler
        notify(self._observer.queue, scheduler.queued_tokens, scheduler.token_rate or 0.0)

    def _begin_loop(self) -> None:
        unanswered: list[Item] = []
        try:
            while True:
                items, search = self._next_items()
                if not items:
                    return
                unanswered = items if search is None else search.unresolved()
                notify(self._observer.begun, items)
                packed = pack([item.input_ids for item in items])
                started = time.monotonic()
                try:
                    # Neither a batch nor a search mixes outputs.
                    wait = self._runner.start(packed, submission_of(items[0].owner).output)
                except Exception as error:
                    wait = partial(_raise, error)
                self._begun.put(_Step(items, packed, started, wait, search))
                unanswered = []  # the other thread answers them now
        except BaseException as error:
            self._die(error, unanswered)
        finally:
            self._begun.put(None)

    def _next_items(self) -> tuple[list[Item], PoisonSearch[Item] | None]:
        """Waits until a step may begin, and returns its texts; none once the engine is closed and idle."""
        scheduler = self._scheduler
        with self._changed:
            while True:
                needed = 1 if not self._under_way else scheduler.max_batch_tokens
                # If an `alone` text ends the process, no other text may be suspected.
                may_begin = self._under_way < (1 if self._alone else self._runner.depth)
                if may_begin and self._searches:
                    search = self._searches.popleft()
                    self._skip_unwanted(search)
                    if search.probe:
                        scheduler.throughput.begun(
                            sum(len(item.input_ids) for item in search.probe)
                        )
                        self._under_way += 1
                        return search.probe, search
                elif may_begin and scheduler.queued_tokens >= needed:
                    items, too_late = scheduler.next_batch()
                    self._drop(too_late, "expired", expired())
                    self._notify_queue()
                    if items:
                        self._under_way += 1
                        return items, None
                elif self._closing and not len(scheduler) and (self._dead or not self._under_way):
                    return [], None
                else:
                    self._changed.wait()

    def _skip_unwanted(self, search: PoisonSearch[Item]) -> None:
        """Answers texts that are cancelled or expired by now, which are not worth another step."""
        now = time.monotonic()
        cancelled, too_late = [], []
        for item in search.unresolved():
            if submission_of(item.owner).cancelled:
                cancelled.append(item)
            elif item.owner.deadline is not None and item.owner.deadline <= now:
                too_late.append(item)
        self._delivery.fail(cancelled, "cancelled", expired())  # counted, not delivered
        self._delivery.fail(too_late, "expired", expired())
        if cancelled or too_late:
            search.forget(cancelled + too_late)

    def _end_loop(self) -> None:
        ended = 0.0
        while (step := self._begun.get()) is not None:
            unanswered = step.unresolved()
            try:
                # A step begun ahead has waited for the one before it.
                deliver = self._end(step, ended)
                unanswered = step.items
                ended = time.monotonic()
                with self._changed:  # the next step may begin before results are delivered
                    self._under_way -= 1
                    self._changed.notify_all()
                deliver()
            except BaseException as error:
                self._die(error, unanswered)

    def _end(self, step: _Step, ended: float) -> Callable[[], None]:
        """Waits for a step, and returns a function that delivers its results. The step before ended at
        `ended`."""
        if self._dead:
            return partial(self._delivery.fail, step.unresolved(), "lost", lost())
        try:
            vectors = step.wait()
        except DeviceLost:
            raise
        except Exception:
            notify(self._observer.failed)
            # A runner's exception holds no text and nothing else of a request.
            log.exception("a step of %d tokens failed", step.packed.num_tokens)
            with self._changed:
                self._scheduler.throughput.failed()
                if step.search is not None:
                    step.search.failed()
                self._continue_search(step.search or PoisonSearch(step.items))
            return lambda: None
        started = max(step.started, ended)
        seconds = time.monotonic() - started
        with self._changed:
            self._scheduler.throughput.ended(step.packed.num_tokens, seconds)
            self._notify_queue()
            if step.search is not None:
                step.search.passed()
                self._continue_search(step.search)
        return partial(self._delivery.step, step.items, step.packed, vectors, started, seconds)

    def _continue_search(self, search: PoisonSearch[Item]) -> None:
        """Answers the texts found guilty, and has the search run its next probe if the engine goes on."""
        guilty = search.take_guilty()
        self._delivery.fail(guilty, "poison", poison("the engine failed on this text"))
        if self._dead:
            self._delivery.fail(search.unresolved(), "lost", lost())
        elif self._abandoned:
            self._delivery.fail(search.unresolved(), "abandoned", stopped())
        elif search.probe:
            self._searches.append(search)

    def _die(self, error: BaseException, unanswered: Sequence[Item]) -> None:
        """Ends the engine because the device is lost, or this code has failed. Every text is answered, and
        no more texts are taken."""
        log.critical("the engine ends: %s", type(error).__name__)
        with self._changed:
            first, self._dead = not self._dead, True
        if first:
            # Before any answer. A process that ends in this callback says more than an answer would.
            notify(self._on_death)
        self._delivery.fail(unanswered, "lost", lost())
        self.abandon()


def _raise(error: Exception) -> NDArray[np.float32]:
    raise error
