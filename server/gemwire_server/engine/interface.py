"""The engine as the server sees it: texts as token ids in, vectors out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.packing import PackedBatch, TokenIds
from gemwire_server.engine.scheduler import Item
from gemwire_server.errors import GemwireError


@dataclass(frozen=True, slots=True)
class StepTiming:
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
    step: StepTiming | None


@dataclass(slots=True, eq=False, weakref_slot=True)
class Submission:
    """Texts of one call on their way; satisfies `scheduler.Owner`.

    `deliver` is called from a thread of the engine's until every text is answered; it must be quick.
    `deadline` is on the scale of `time.monotonic`. Turns are taken by `caller`, and within it by `flow`;
    `bulk` work leaves room for other work; `alone` is computed in a step of its own, with no other under
    way.
    """

    deliver: Callable[[Results], None]
    deadline: float | None = None
    priority: int = 0
    caller: int = 0
    flow: int = 0
    bulk: bool = False
    alone: bool = False
    cancelled: bool = field(default=False, init=False)
    """Nobody waits any more; the engine's to set, see `Engine.cancel`."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """`queued_tokens` wait now, as far as is known here; `token_rate` is of recent steps, tokens a second,
    0 before the first."""

    queued_tokens: int
    token_rate: float


class Engine(Protocol):
    """What the server needs of an engine."""

    def submit(self, sequences: Sequence[TokenIds], submission: Submission) -> None:
        """Queues all of the texts, each int32 [length] with length >= 1.

        Refuses them all with Overloaded or Stopped: raises it, or delivers it for all of them at once.
        """

    def cancel(self, submission: Submission) -> None:
        """What is not computed yet never is, and holds no room any more."""

    def check_room(
        self, coming: int, guess: int, *, caller: int, deadline: float | None = None
    ) -> None:
        """Raises Overloaded if about `guess` tokens, behind `coming` not submitted yet, will not fit into
        the queue or the caller's share or be computed in time, and Stopped while nothing is computed."""

    def state(self) -> EngineState: ...

    def abandon(self) -> None:
        """Takes no more, and answers with Stopped what has not begun to be computed."""

    def close(self) -> None:
        """Takes no more, answers what was accepted, then returns."""


class Observer:
    """What is told of an engine's work, from its threads; this one takes no notice.

    Of every text that was accepted it is told exactly once that it `ended` or was `dropped`. It must be
    quick; what it raises is logged and goes no further.
    """

    def accepted(self, texts: int) -> None:
        """Texts were taken into the queue."""

    def queue(self, tokens: int, token_rate: float) -> None:
        """So many tokens wait from now on; the rate is of recent steps, tokens a second, 0 at first."""

    def begun(self, items: Sequence[Item]) -> None:
        """A step of these texts is about to be computed; after a step that failed, again."""

    def ended(self, items: Sequence[Item], waits: Sequence[float], seconds: float) -> None:
        """Their step was computed in so many seconds, after each had waited so long, and their vectors are
        good."""

    def failed(self) -> None:
        """A step gave no vector at all; what becomes of its texts is told apart from it."""

    def dropped(self, reason: str, texts: int) -> None:
        """Texts that were accepted and get no vector: cancelled, expired, abandoned, poison, lost."""


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
