"""The interface of an engine: texts as token ids in, vectors out."""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.packing import PackedBatch, TokenIds
from gemwire_server.engine.scheduler import Item
from gemwire_server.errors import GemwireError, InvalidInput, Overloaded, Stopped

REFUSALS = (InvalidInput, Overloaded, Stopped)
"""The errors with which an engine refuses a whole submission."""


class Output(enum.Enum):
    """What an engine computes of a text.

    UNIT: the model's vector, of length one. RAW: the same vector as the head gives it, before it is
    normalized. TOKENS: the final hidden state of every token, after the last norm; no head.
    """

    UNIT = "unit"
    RAW = "raw"
    TOKENS = "tokens"

    # Enum's own hash is Python code, and the scheduler hashes the output of every text several times.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class StepTiming:
    """The step that computed a text, and the text's wait for it. Times in seconds."""

    queue_seconds: float
    compute_seconds: float
    batch_texts: int
    batch_tokens: int


@dataclass(frozen=True, slots=True)
class Results:
    """The answer to some texts of one submission.

    `indices` are their places in the submission. `vectors` is fp32 [len(indices), dimensions], for
    UNIT rows of length one. For TOKENS, results with vectors answer exactly one text: `vectors` is fp32
    [T, hidden]. On failure it is None, and `error` is the cause for all of these texts.
    """

    indices: list[int]
    vectors: NDArray[np.float32] | None
    error: GemwireError | None
    step: StepTiming | None


@dataclass(slots=True, eq=False, weakref_slot=True)
class Submission:
    """Texts of one call in the engine; satisfies `scheduler.Owner`.

    A thread of the engine calls `deliver` until every text is answered; `deliver` must be quick.
    `deadline` is on the scale of `time.monotonic`. Callers take turns, and within a caller its flows do.
    `bulk` work leaves room for other work. The texts of an `alone` submission are computed each in a step
    of its own, with no other step under way. `output` holds for all of the texts.
    """

    deliver: Callable[[Results], None]
    deadline: float | None = None
    priority: int = 0
    caller: int = 0
    flow: int = 0
    bulk: bool = False
    alone: bool = False
    output: Output = Output.UNIT
    cancelled: bool = field(default=False, init=False)
    """The caller waits no longer. Only the engine sets it, see `Engine.cancel`."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """`queued_tokens` wait now, as far as this process knows; `token_rate` is in tokens a second of recent
    steps, 0 before the first that was half full."""

    queued_tokens: int
    token_rate: float


class Engine(Protocol):
    """An engine, in this process or another one. Any thread may call it."""

    def submit(self, sequences: Sequence[TokenIds], submission: Submission) -> None:
        """Queues all of the texts, each int32 [length] with length >= 1.

        Refuses all of them with one of REFUSALS: raises the error, or delivers it for all at once.
        """

    def cancel(self, submission: Submission) -> None:
        """Removes the submission's texts that no step has begun with, so that they hold no room."""

    def check_room(
        self, coming: int, guess: int, *, caller: int, deadline: float | None = None
    ) -> None:
        """Raises Overloaded if about `guess` tokens, behind `coming` that are not submitted yet, will not
        fit into the queue or the caller's share, or not be computed in time; Stopped while the engine
        computes nothing."""

    def state(self) -> EngineState: ...

    def abandon(self) -> None:
        """Takes no more texts, and answers with Stopped those that no step has begun with."""

    def close(self) -> None:
        """Takes no more texts, answers the accepted ones, then returns."""


class Observer:
    """Callbacks about an engine's work, called by its threads; these do nothing.

    Every accepted text is reported exactly once as `ended` or `dropped`. An observer must be quick; the
    engine logs what it raises, and goes on.
    """

    def accepted(self, texts: int) -> None:
        """So many texts were taken into the queue."""

    def queue(self, tokens: int, token_rate: float) -> None:
        """So many tokens wait from now on; for the rate see `EngineState`."""

    def begun(self, items: Sequence[Item]) -> None:
        """A step of these texts begins; texts of a failed step begin again."""

    def ended(self, items: Sequence[Item], waits: Sequence[float], seconds: float) -> None:
        """The texts' step was computed in so many seconds, after each text's wait in seconds, and their
        vectors are finite."""

    def failed(self) -> None:
        """A step gave no vector at all; the end of its texts is reported apart from it."""

    def dropped(self, reason: str, texts: int) -> None:
        """Accepted texts get no vector. Reasons: cancelled, expired, abandoned, poison, lost."""


class Runner(Protocol):
    """A model on a device. One thread starts steps, another waits for them."""

    @property
    def depth(self) -> int:
        """Steps that may be under way at once: 2 where the device computes while the next is prepared."""

    def start(self, batch: PackedBatch, output: Output) -> Callable[[], NDArray[np.float32]]:
        """Begins a step and returns a function that waits for the vectors: fp32 [n, dimensions], or
        [T, hidden] for the output TOKENS.

        Steps end in the order in which they began. Either call raises DeviceLost if no step can succeed any
        more; any other exception is the failure of this batch.
        """
