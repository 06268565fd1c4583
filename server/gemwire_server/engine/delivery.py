"""Delivery: hands the results of texts to their submissions, and reports their end to the observer."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.interface import Observer, Output, Results, StepTiming, Submission
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
        """Delivers to each submission its rows of a step; a text whose rows are not finite fails alone.

        `vectors` is fp32 [len(items), dimensions], or [T, hidden] for the output TOKENS. `started` is on
        the scale of `Item.queued_at`.
        """
        of_tokens = submission_of(items[0].owner).output is Output.TOKENS
        waits = [started - item.queued_at for item in items]
        finite = _finite(vectors, packed.cu_seqlens[:-1] if of_tokens else None)
        good = [place for place, is_finite in enumerate(finite) if is_finite]
        if good:
            good_items, good_waits = [items[i] for i in good], [waits[i] for i in good]
            notify(self._observer.ended, good_items, good_waits, seconds)
        else:
            notify(self._observer.failed)
        if len(good) < len(finite):
            notify(self._observer.dropped, "poison", len(finite) - len(good))
        places: dict[tuple[Submission, bool], list[int]] = defaultdict(list)
        for place, item in enumerate(items):
            places[submission_of(item.owner), finite[place]].append(place)
        for (submission, is_finite), members in places.items():
            waited = max(waits[i] for i in members)
            timing = StepTiming(waited, seconds, packed.num_texts, packed.num_tokens)
            indices = [items[i].index for i in members]
            if not is_finite:
                error = poison("the model gave no finite vector for this text")
                deliver(submission, Results(indices, None, error, timing))
            elif of_tokens:
                for i, index in zip(members, indices, strict=True):
                    # A copy, so that a text's rows do not keep those of its neighbours.
                    rows = vectors[packed.cu_seqlens[i] : packed.cu_seqlens[i + 1]].copy()
                    deliver(submission, Results([index], rows, None, timing))
            else:
                deliver(submission, Results(indices, vectors[members], None, timing))


def _finite(vectors: NDArray[np.float32], starts: NDArray[np.int32] | None) -> list[bool]:
    """Whether each text has finite rows only. `starts` are the first rows of the texts, None where each
    text has one row."""
    rows = np.all(np.isfinite(vectors), axis=1)
    finite: list[bool] = (
        rows if starts is None else np.logical_and.reduceat(rows, starts)
    ).tolist()
    return finite


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
