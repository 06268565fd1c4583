"""Delivery: hands the results of texts to their submissions, and reports their end to the observer."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.interface import Observer, Results, StepTiming, Submission
from gemwire_server.engine.packing import PackedBatch
from gemwire_server.engine.scheduler import Dropped, Item, Owner
from gemwire_server.errors import EngineFailure, Expired, GemwireError, Stopped

log = logging.getLogger(__name__)


class Delivery:
    """Delivers the results of accepted texts, and reports the end of each text to the observer once."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def drop(self, dropped: Sequence[Dropped], reason: str, error: GemwireError) -> None:
        """Answers with `error` texts that were removed from the queue."""
        for owner, indices in dropped:
            notify(self._observer.dropped, reason, len(indices))
            deliver(submission_of(owner), Results(indices, None, error, None))

    def fail(self, items: Sequence[Item], reason: str, error: GemwireError) -> None:
        """Answers with `error` texts that were taken out of the queue for a step."""
        if not items:
            return
        notify(self._observer.dropped, reason, len(items))
        by_submission: dict[Submission, list[int]] = defaultdict(list)
        for item in items:
            by_submission[submission_of(item.owner)].append(item.index)
        for submission, indices in by_submission.items():
            deliver(submission, Results(indices, None, error, None))

    def step(
        self,
        items: Sequence[Item],
        packed: PackedBatch,
        vectors: NDArray[np.float32],
        started: float,
        seconds: float,
    ) -> None:
        """Delivers to each submission its rows of a step; a row that is not finite fails alone.

        `vectors` is fp32 [len(items), dimensions]. `started` is on the scale of `Item.queued_at`.
        """
        waits = [started - item.queued_at for item in items]
        finite: list[bool] = np.all(np.isfinite(vectors), axis=1).tolist()
        good = [row for row, is_finite in enumerate(finite) if is_finite]
        if good:
            good_items, good_waits = [items[row] for row in good], [waits[row] for row in good]
            notify(self._observer.ended, good_items, good_waits, seconds)
        else:
            notify(self._observer.failed)
        if len(good) < len(finite):
            notify(self._observer.dropped, "poison", len(finite) - len(good))
        rows: dict[tuple[Submission, bool], list[int]] = defaultdict(list)
        for row, item in enumerate(items):
            rows[submission_of(item.owner), finite[row]].append(row)
        for (submission, is_finite), members in rows.items():
            waited = max(waits[row] for row in members)
            timing = StepTiming(waited, seconds, packed.num_texts, packed.num_tokens)
            error = None if is_finite else poison("the model gave no finite vector for this text")
            indices = [items[row].index for row in members]
            deliver(
                submission, Results(indices, vectors[members] if is_finite else None, error, timing)
            )


def deliver(submission: Submission, results: Results) -> None:
    """Calls the submission's `deliver` unless it is cancelled; what that raises is logged."""
    if submission.cancelled:
        return
    try:
        submission.deliver(results)
    except Exception as error:  # a caller that is gone must not take the engine with it
        log.warning("results could not be handed over: %s", type(error).__name__)


def notify(callback: Callable[..., None], *args: object) -> None:
    """Calls code that is not the engine's own; what it raises is logged, and the engine goes on."""
    try:
        callback(*args)
    except Exception as error:
        log.error("a callback of the engine's raised %s", type(error).__name__)


def submission_of(owner: Owner) -> Submission:
    assert isinstance(owner, Submission)
    return owner


def expired() -> Expired:
    return Expired(
        "DEADLINE_EXCEEDED", "the deadline was too near while the text waited; it was not computed"
    )


def lost() -> EngineFailure:
    return EngineFailure("DEVICE_LOST", "the device failed; this text was not computed")


def poison(message: str) -> EngineFailure:
    return EngineFailure("POISON_INPUT", message)


def stopped() -> Stopped:
    return Stopped("DRAINING", "the server is shutting down; this text was not computed")
