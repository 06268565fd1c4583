"""The engine: texts as token ids in, vectors out, one step after the other.

`Engine` is what the server needs of one; `ThreadEngine` runs the model in a thread of this process.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gemwire_server.errors import EngineFailure, GemwireError, Stopped
from gemwire_server.packing import PackedBatch, TokenIds, pack
from gemwire_server.scheduler import Flow, Item, Scheduler, expiry, is_live

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
    """What the engine needs of the device's owner."""

    def run(self, batch: PackedBatch) -> NDArray[np.float32]:
        """fp32 [n, dimensions]; called by one thread only."""


@dataclass(frozen=True, slots=True)
class _Batch:
    items: list[Item]
    packed: PackedBatch


class ThreadEngine:
    """The model in a thread of this process: one thread owns the device, another packs ahead.

    A batch is packed while another runs only once a whole budget waits: nothing that comes later could
    have joined it. A smaller one is formed at the moment the device comes free.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        max_batch_tokens: int,
        max_queue_tokens: int,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_death` is called, from the engine's thread, if it can go on no longer."""
        self._runner = runner
        self._on_death = on_death
        self._scheduler = Scheduler(
            max_batch_tokens=max_batch_tokens,
            max_queue_tokens=max_queue_tokens,
            clock=time.monotonic,
        )
        self._changed = threading.Condition()
        self._prepared: _Batch | None = None
        self._running = False
        self._closing = False
        self._steps = self._texts = self._tokens = 0
        self._threads = [
            threading.Thread(target=self._device_loop, name="gemwire-device"),
            threading.Thread(target=self._prepare_loop, name="gemwire-prepare"),
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
            prepared = self._prepared.packed.num_tokens if self._prepared else 0
            return EngineStats(
                queued_tokens=self._scheduler.queued_tokens + prepared,
                steps=self._steps,
                computed_texts=self._texts,
                computed_tokens=self._tokens,
            )

    def abandon(self) -> None:
        with self._changed:
            self._closing = True
            items = self._scheduler.clear()
            if self._prepared is not None:
                items += self._prepared.items
                self._prepared = None
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

    def _device_loop(self) -> None:
        try:
            while (batch := self._take()) is not None:
                self._run(batch)
        except BaseException as error:
            # Not a failed step, which `_run` answers: this code's own. Nobody may wait for ever.
            log.critical("the engine ends: %s", type(error).__name__)
            self.abandon()
            self._on_death()

    def _prepare_loop(self) -> None:
        scheduler = self._scheduler
        with self._changed:
            while not self._closing:
                full = scheduler.queued_tokens >= scheduler.max_batch_tokens
                if self._running and self._prepared is None and full:
                    self._prepared = self._form()
                else:
                    self._changed.wait()

    def _take(self) -> _Batch | None:
        """The next batch, as soon as there is one; None once closed and everything is answered."""
        with self._changed:
            self._running = False
            while True:
                if self._prepared is not None:
                    batch, self._prepared = self._still_wanted(self._prepared), None
                elif len(self._scheduler):
                    batch = self._form()
                elif self._closing:
                    return None
                else:
                    self._changed.wait()
                    continue
                if batch is not None:
                    self._running = True
                    self._changed.notify_all()
                    return batch

    def _form(self) -> _Batch | None:
        items, expired = self._scheduler.next_batch()
        _fail(expired, expiry())
        return _Batch(items, pack([item.input_ids for item in items])) if items else None

    def _still_wanted(self, batch: _Batch) -> _Batch | None:
        """The prepared batch less what was cancelled or has expired since."""
        now = time.monotonic()
        items = [item for item in batch.items if is_live(item, now)]
        if len(items) == len(batch.items):
            return batch
        dead = [item for item in batch.items if not is_live(item, now)]
        _fail([item for item in dead if not item.owner.cancelled], expiry())
        return _Batch(items, pack([item.input_ids for item in items])) if items else None

    def _run(self, batch: _Batch) -> None:
        started = time.monotonic()
        try:
            vectors = self._runner.run(batch.packed)
        except Exception:
            # No text and nothing of a request is in a runner's exception.
            log.exception("a step of %d tokens failed", batch.packed.num_tokens)
            _fail(batch.items, EngineFailure("ENGINE_FAILURE", "the engine failed on this batch"))
            return
        seconds = time.monotonic() - started
        with self._changed:
            self._scheduler.observe(batch.packed.num_tokens, seconds)
            self._steps += 1
            self._texts += batch.packed.num_texts
            self._tokens += batch.packed.num_tokens
        _deliver(batch, vectors, started, seconds)


def _deliver(batch: _Batch, vectors: NDArray[np.float32], started: float, seconds: float) -> None:
    """Hands each submission its rows; a row that is not finite fails alone."""
    finite: list[bool] = np.all(np.isfinite(vectors), axis=1).tolist()
    rows: dict[tuple[Submission, bool], list[int]] = defaultdict(list)
    for row, item in enumerate(batch.items):
        rows[_owner(item), finite[row]].append(row)
    for (submission, good), members in rows.items():
        waited = max(started - batch.items[row].queued_at for row in members)
        step = Step(waited, seconds, batch.packed.num_texts, batch.packed.num_tokens)
        error = None
        if not good:
            error = EngineFailure("NOT_FINITE", "the model gave no finite vector for this text")
        indices = [batch.items[row].index for row in members]
        _hand(submission, Results(indices, vectors[members] if good else None, error, step))


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
