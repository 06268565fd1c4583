"""The engine: texts as token ids in, vectors out, one step after the other.

`Engine` is what the server needs of one; `ThreadEngine` runs the model in a thread of this process.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gemwire_server.errors import DeviceLost, EngineFailure, GemwireError, Stopped
from gemwire_server.packing import PackedBatch, TokenIds, pack
from gemwire_server.scheduler import Flow, Item, Scheduler, expiry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """The device batch that held a text. Times in seconds."""

    queue_seconds: float
    compute_seconds: float
    batch_texts: int
    batch_tokens: int


@dataclass(frozen=True, slots=True)
class Results:
    """Some texts of one submission, answered together.

    `indices` are their places in the submission. `vectors` is fp32 [len(indices), dimensions], rows of
    length one; on failure it is None and `error` says why.
    """

    indices: list[int]
    vectors: NDArray[np.float32] | None
    error: GemwireError | None
    step: Step | None


@dataclass(slots=True, eq=False)
class Submission:
    """Texts of one call on their way. `deliver` is called from the engine's thread until every text is
    answered; it must be quick. Submissions of one `flow` share its turns among other callers. After
    `cancelled` is set, what is not computed yet never is."""

    deliver: Callable[[Results], None]
    deadline: float | None = None
    priority: int = 0
    flow: Flow = field(default_factory=Flow)
    cancelled: bool = field(default=False)


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Since the start, but for `queued_tokens`, which is now."""

    queued_tokens: int
    steps: int
    computed_texts: int
    computed_tokens: int


class Engine(Protocol):
    """What the server needs of an engine."""

    def submit(self, sequences: Sequence[TokenIds], submission: Submission) -> None:
        """Queues all of the texts, each int32 [length] with length >= 1; raises Overloaded or Stopped.

        `submission.deadline` is on the scale of `time.monotonic`.
        """

    def check_room(self, coming: int, guess: int) -> None:
        """Raises Overloaded if about `guess` tokens, behind `coming` not submitted yet, will not fit."""

    def stats(self) -> EngineStats: ...

    def abandon(self) -> None:
        """Takes no more, and answers with Stopped what has not begun to be computed."""

    def close(self) -> None:
        """Takes no more, answers what was accepted, then returns."""


class Runner(Protocol):
    """What the engine needs of the device's owner. One thread starts steps, another waits for them."""

    @property
    def depth(self) -> int:
        """Steps that may be under way at once: 2 where the device works while its owner prepares."""

    def start(self, batch: PackedBatch) -> Callable[[], NDArray[np.float32]]:
        """Begins a step; what it returns waits for the vectors, fp32 [n, dimensions].

        Steps end in the order they began. Raises DeviceLost, here or there, if no step can succeed any
        more; whatever else is raised is this batch's failure.
        """


@dataclass(frozen=True, slots=True)
class _Step:
    items: list[Item]
    packed: PackedBatch
    started: float
    wait: Callable[[], NDArray[np.float32]]


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
    ) -> None:
        """`on_death` is called, from a thread of the engine's, if it can go on no longer."""
        self._runner = runner
        self._on_death = on_death
        self._scheduler = Scheduler(
            max_batch_tokens=max_batch_tokens,
            max_queue_tokens=max_queue_tokens,
            clock=time.monotonic,
        )
        self._changed = threading.Condition()
        self._under_way = 0
        self._begun: SimpleQueue[_Step | None] = SimpleQueue()  # at most `depth`, then None
        self._closing = False
        self._dead = False
        self._steps = self._texts = self._tokens = 0
        self._threads = [
            threading.Thread(target=self._begin_loop, name="gemwire-begin"),
            threading.Thread(target=self._end_loop, name="gemwire-device"),
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, sequences: Sequence[TokenIds], submission: Submission) -> None:
        items = [Item(submission, i, ids) for i, ids in enumerate(sequences)]
        with self._changed:
            if self._closing:
                raise stopped()
            self._make_room(sum(map(len, sequences)))
            self._scheduler.add(items, submission.priority)
            self._changed.notify_all()

    def check_room(self, coming: int, guess: int) -> None:
        with self._changed:
            self._make_room(coming + guess)
            self._scheduler.check_room(coming, guess)

    def stats(self) -> EngineStats:
        with self._changed:
            _fail(self._scheduler.purge(), expiry())
            return EngineStats(
                queued_tokens=self._scheduler.queued_tokens,
                steps=self._steps,
                computed_texts=self._texts,
                computed_tokens=self._tokens,
            )

    def abandon(self) -> None:
        with self._changed:
            self._closing = True
            items = self._scheduler.clear()
            _fail([item for item in items if not item.owner.cancelled], stopped())
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _make_room(self, tokens: int) -> None:
        """Work that nobody waits for any more must not keep other work out."""
        scheduler = self._scheduler
        if scheduler.queued_tokens + tokens > scheduler.max_queue_tokens:
            _fail(scheduler.purge(), expiry())

    def _begin_loop(self) -> None:
        items: list[Item] = []
        try:
            while items := self._next_items():
                packed = pack([item.input_ids for item in items])
                started = time.monotonic()
                try:
                    wait = self._runner.start(packed)
                except Exception as error:
                    wait = partial(_raise, error)
                self._begun.put(_Step(items, packed, started, wait))
                items = []  # the other thread's to answer now
        except BaseException as error:
            _fail(items, _lost())
            self._die(error)
        finally:
            self._begun.put(None)

    def _next_items(self) -> list[Item]:
        """The next step's texts, once it may begin; none once closed and everything has begun."""
        scheduler = self._scheduler
        with self._changed:
            while True:
                needed = 1 if not self._under_way else scheduler.max_batch_tokens
                if self._under_way < self._runner.depth and scheduler.queued_tokens >= needed:
                    items, expired = scheduler.next_batch()
                    _fail(expired, expiry())
                    if items:
                        self._under_way += 1
                        return items
                elif self._closing and not len(scheduler):
                    return []
                else:
                    self._changed.wait()

    def _end_loop(self) -> None:
        ended = 0.0
        while (step := self._begun.get()) is not None:
            try:
                # A step begun ahead has waited for the one before it.
                hand_out = self._end(step, ended)
                ended = time.monotonic()
                with self._changed:  # the next may begin before results are handed out
                    self._under_way -= 1
                    self._changed.notify_all()
                hand_out()
            except BaseException as error:
                _fail(step.items, _lost())
                self._die(error)

    def _end(self, step: _Step, ended: float) -> Callable[[], None]:
        """Waits for a step; what it returns hands the results out. The one before ended at `ended`."""
        if self._dead:
            return partial(_fail, step.items, _lost())
        try:
            vectors = step.wait()
        except DeviceLost:
            raise
        except Exception:
            # No text and nothing of a request is in a runner's exception.
            log.exception("a step of %d tokens failed", step.packed.num_tokens)
            failure = EngineFailure("ENGINE_FAILURE", "the engine failed on this batch")
            return partial(_fail, step.items, failure)
        started = max(step.started, ended)
        seconds = time.monotonic() - started
        with self._changed:
            self._scheduler.observe(step.packed.num_tokens, seconds)
            self._steps += 1
            self._texts += step.packed.num_texts
            self._tokens += step.packed.num_tokens
        return partial(_deliver, step, vectors, started, seconds)

    def _die(self, error: BaseException) -> None:
        """Not a failed step, which is answered: the device's end, or this code's own. Nobody may wait for
        ever, and nobody must be sent here any more."""
        log.critical("the engine ends: %s", type(error).__name__)
        self._dead = True
        self.abandon()
        self._on_death()


def _lost() -> EngineFailure:
    return EngineFailure("DEVICE_LOST", "the device failed; this text was not computed")


def _raise(error: Exception) -> NDArray[np.float32]:
    raise error


def _deliver(step: _Step, vectors: NDArray[np.float32], started: float, seconds: float) -> None:
    """Hands each submission its rows; a row that is not finite fails alone."""
    finite: list[bool] = np.all(np.isfinite(vectors), axis=1).tolist()
    rows: dict[tuple[Submission, bool], list[int]] = defaultdict(list)
    for row, item in enumerate(step.items):
        rows[_owner(item), finite[row]].append(row)
    for (submission, good), members in rows.items():
        waited = max(started - step.items[row].queued_at for row in members)
        told = Step(waited, seconds, step.packed.num_texts, step.packed.num_tokens)
        error = None
        if not good:
            error = EngineFailure("NOT_FINITE", "the model gave no finite vector for this text")
        indices = [step.items[row].index for row in members]
        _hand(submission, Results(indices, vectors[members] if good else None, error, told))


def _fail(items: Sequence[Item], error: GemwireError) -> None:
    by_owner: dict[Submission, list[int]] = defaultdict(list)
    for item in items:
        by_owner[_owner(item)].append(item.index)
    for submission, indices in by_owner.items():
        _hand(submission, Results(indices, None, error, None))


def _hand(submission: Submission, results: Results) -> None:
    try:
        submission.deliver(results)
    except Exception as error:  # a caller that is gone must not take the engine with it
        log.warning("results could not be handed over: %s", type(error).__name__)


def _owner(item: Item) -> Submission:
    assert isinstance(item.owner, Submission)
    return item.owner


def stopped() -> Stopped:
    return Stopped("DRAINING", "the server is shutting down; this text was not computed")
