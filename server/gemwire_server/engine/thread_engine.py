"""The engine in threads of this process: one step after the other."""

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.interface import (
    EngineState,
    Observer,
    Results,
    Runner,
    StepTiming,
    Submission,
    hand,
    poison,
    stopped,
)
from gemwire_server.engine.packing import PackedBatch, TokenIds, pack
from gemwire_server.engine.poison_search import PoisonSearch
from gemwire_server.engine.scheduler import Dropped, Item, Owner, Scheduler, expiry
from gemwire_server.errors import DeviceLost, EngineFailure, GemwireError

log = logging.getLogger(__name__)

# For the interpreter that feeds the device: at the default of 5 ms a thread that computes in Python holds
# up each hand-over by that much.
SWITCH_INTERVAL_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class _Step:
    items: list[Item]
    packed: PackedBatch
    started: float
    wait: Callable[[], NDArray[np.float32]]
    suspects: PoisonSearch[Item] | None

    def everyone(self) -> list[Item]:
        """The texts that depend on this step, computed in it or not."""
        return self.items if self.suspects is None else self.suspects.everyone()


class ThreadEngine:
    """The model in threads of this process: one begins steps, one waits for them and hands out.

    A step is begun while another is under way only once a whole budget waits: nothing that comes later
    could have joined it. A smaller one is formed at the moment the device comes free.
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
        """`on_death` is called, from a thread of the engine's, if it can go on no longer."""
        self._runner = runner
        self._on_death = on_death
        self._observer = observer or Observer()
        self._scheduler = Scheduler(
            max_batch_tokens=max_batch_tokens,
            max_queue_tokens=max_queue_tokens,
            clock=time.monotonic,
        )
        self._changed = threading.Condition()
        self._under_way = 0
        self._begun: SimpleQueue[_Step | None] = SimpleQueue()  # at most `depth`, then None
        self._probing: deque[PoisonSearch[Item]] = deque()  # of steps that failed: at most `depth`
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
            self._tell(self._observer.accepted, len(sequences))
            self._tell_queue()
            self._changed.notify_all()

    def cancel(self, submission: Submission) -> None:
        with self._changed:
            submission.cancelled = True
            if indices := self._scheduler.drop(submission):
                self._tell(self._observer.dropped, "cancelled", len(indices))
                self._tell_queue()

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
            while self._probing:
                self._refuse(self._probing.popleft().everyone(), "abandoned", stopped())
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _expire(self) -> None:
        """Work that nobody waits for any more must not keep other work out."""
        self._drop(self._scheduler.expire(), "expired", expiry())

    def _drop(self, dropped: Sequence[Dropped], reason: str, error: GemwireError) -> None:
        for owner, indices in dropped:
            self._tell(self._observer.dropped, reason, len(indices))
            self._tell_queue()
            hand(_submission(owner), Results(indices, None, error, None))

    def _tell_queue(self) -> None:
        scheduler = self._scheduler
        self._tell(self._observer.queue, scheduler.queued_tokens, scheduler.token_rate or 0.0)

    def _refuse(self, items: Sequence[Item], reason: str, error: GemwireError) -> None:
        if items:
            self._tell(self._observer.dropped, reason, len(items))
            _fail(items, error)

    def _tell(self, told: Callable[..., None], *news: object) -> None:
        """Calls what is not the engine's own, and outlives it."""
        try:
            told(*news)
        except Exception as error:
            log.error("who was told of the engine's work raised %s", type(error).__name__)

    def _begin_loop(self) -> None:
        unanswered: list[Item] = []
        try:
            while True:
                items, suspects = self._next_items()
                if not items:
                    return
                unanswered = items if suspects is None else suspects.everyone()
                self._tell(self._observer.begun, items)
                packed = pack([item.input_ids for item in items])
                started = time.monotonic()
                try:
                    wait = self._runner.start(packed)
                except Exception as error:
                    wait = partial(_raise, error)
                self._begun.put(_Step(items, packed, started, wait, suspects))
                unanswered = []  # the other thread's to answer now
        except BaseException as error:
            self._die(error, unanswered)
        finally:
            self._begun.put(None)

    def _next_items(self) -> tuple[list[Item], PoisonSearch[Item] | None]:
        """The next step's texts, once it may begin; none once closed and everything has ended."""
        scheduler = self._scheduler
        with self._changed:
            while True:
                needed = 1 if not self._under_way else scheduler.max_batch_tokens
                # If one of these takes the device with it, nothing else may be suspected.
                may_begin = self._under_way < (1 if self._alone else self._runner.depth)
                if may_begin and self._probing:
                    suspects = self._probing.popleft()
                    self._forget_unwanted(suspects)
                    if suspects.probe:
                        scheduler.pace.begun(sum(len(item.input_ids) for item in suspects.probe))
                        self._under_way += 1
                        return suspects.probe, suspects
                elif may_begin and scheduler.queued_tokens >= needed:
                    items, expired = scheduler.next_batch()
                    self._drop(expired, "expired", expiry())
                    self._tell_queue()
                    if items:
                        self._under_way += 1
                        return items, None
                elif self._closing and not len(scheduler) and (self._dead or not self._under_way):
                    return [], None
                else:
                    self._changed.wait()

    def _forget_unwanted(self, suspects: PoisonSearch[Item]) -> None:
        """What is cancelled or expired by now is not worth another step."""
        now = time.monotonic()
        cancelled, expired = [], []
        for item in suspects.everyone():
            if _submission(item.owner).cancelled:
                cancelled.append(item)
            elif item.owner.deadline is not None and item.owner.deadline <= now:
                expired.append(item)
        self._refuse(cancelled, "cancelled", expiry())  # nobody is there to be told
        self._refuse(expired, "expired", expiry())
        if cancelled or expired:
            suspects.forget(cancelled + expired)

    def _end_loop(self) -> None:
        ended = 0.0
        while (step := self._begun.get()) is not None:
            unanswered = step.everyone()
            try:
                # A step begun ahead has waited for the one before it.
                hand_out = self._end(step, ended)
                unanswered = step.items
                ended = time.monotonic()
                with self._changed:  # the next may begin before results are handed out
                    self._under_way -= 1
                    self._changed.notify_all()
                hand_out()
            except BaseException as error:
                self._die(error, unanswered)

    def _end(self, step: _Step, ended: float) -> Callable[[], None]:
        """Waits for a step; what it returns hands the results out. The one before ended at `ended`."""
        if self._dead:
            return partial(self._refuse, step.everyone(), "lost", _lost())
        try:
            vectors = step.wait()
        except DeviceLost:
            raise
        except Exception:
            self._tell(self._observer.failed)
            # No text and nothing of a request is in a runner's exception.
            log.exception("a step of %d tokens failed", step.packed.num_tokens)
            with self._changed:
                self._scheduler.pace.over()
                if step.suspects is not None:
                    step.suspects.failed()
                self._go_on(step.suspects or PoisonSearch(step.items))
            return lambda: None
        started = max(step.started, ended)
        seconds = time.monotonic() - started
        with self._changed:
            self._scheduler.pace.ended(step.packed.num_tokens, seconds)
            self._tell_queue()
            if step.suspects is not None:
                step.suspects.passed()
                self._go_on(step.suspects)
        return partial(self._deliver, step, vectors, started, seconds)

    def _go_on(self, suspects: PoisonSearch[Item]) -> None:
        """Fails the texts that were found out, and has the others tried unless it is too late for that."""
        guilty = suspects.take_guilty()
        self._refuse(guilty, "poison", poison("the engine failed on this text"))
        if self._dead:
            self._refuse(suspects.everyone(), "lost", _lost())
        elif self._abandoned:
            self._refuse(suspects.everyone(), "abandoned", stopped())
        elif suspects.probe:
            self._probing.append(suspects)

    def _deliver(
        self, step: _Step, vectors: NDArray[np.float32], started: float, seconds: float
    ) -> None:
        """Hands each submission its rows; a row that is not finite fails alone."""
        waits = [started - item.queued_at for item in step.items]
        finite: list[bool] = np.all(np.isfinite(vectors), axis=1).tolist()
        good = [row for row, is_finite in enumerate(finite) if is_finite]
        if good:
            news = [step.items[row] for row in good], [waits[row] for row in good], seconds
            self._tell(self._observer.ended, *news)
        else:
            self._tell(self._observer.failed)
        if len(good) < len(finite):
            self._tell(self._observer.dropped, "poison", len(finite) - len(good))
        rows: dict[tuple[Submission, bool], list[int]] = defaultdict(list)
        for row, item in enumerate(step.items):
            rows[_submission(item.owner), finite[row]].append(row)
        for (submission, is_finite), members in rows.items():
            waited = max(waits[row] for row in members)
            told = StepTiming(waited, seconds, step.packed.num_texts, step.packed.num_tokens)
            error = None if is_finite else poison("the model gave no finite vector for this text")
            indices = [step.items[row].index for row in members]
            hand(submission, Results(indices, vectors[members] if is_finite else None, error, told))

    def _die(self, error: BaseException, unanswered: Sequence[Item]) -> None:
        """Not a failed step, which is answered: the device's end, or this code's own. Nobody may wait for
        ever, and nobody must be sent here any more."""
        log.critical("the engine ends: %s", type(error).__name__)
        with self._changed:
            first, self._dead = not self._dead, True
        if (
            first
        ):  # and before anything else: whose process ends with the engine says more than this could
            self._tell(self._on_death)
        self._refuse(unanswered, "lost", _lost())
        self.abandon()


def _lost() -> EngineFailure:
    return EngineFailure("DEVICE_LOST", "the device failed; this text was not computed")


def _raise(error: Exception) -> NDArray[np.float32]:
    raise error


def _fail(items: Sequence[Item], error: GemwireError) -> None:
    by_owner: dict[Submission, list[int]] = defaultdict(list)
    for item in items:
        by_owner[_submission(item.owner)].append(item.index)
    for submission, indices in by_owner.items():
        hand(submission, Results(indices, None, error, None))


def _submission(owner: Owner) -> Submission:
    assert isinstance(owner, Submission)
    return owner
