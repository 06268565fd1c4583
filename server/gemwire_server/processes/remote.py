"""An engine in another process, as a front sees it."""

import contextlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from gemwire_server.engine.admission import QUEUE_FULL, QueueState
from gemwire_server.engine.interface import EngineState, Results, Submission
from gemwire_server.engine.packing import TokenIds
from gemwire_server.processes import messages
from gemwire_server.processes.link import Link, LinkClosed
from gemwire_server.processes.messages import Answer, Cancel, Message, Submit

# Room for many messages of vectors: all texts of one step may be this front's.
LEAST_RESULT_RING_BYTES = 32 * messages.RESULT_BYTES
# A submission is at most as large as the queue, and each of its tokens may be a text with its length.
BYTES_PER_TOKEN = 8


@dataclass(slots=True, eq=False)
class RemoteSubmission:
    """Texts of a submission that go to one engine in one message; `indices` are their places in it."""

    submission: Submission
    indices: list[int]
    sequences: list[TokenIds]
    alone: bool = False
    waiting: set[int] = field(default_factory=set)
    """Places in this part that are not answered."""
    running: set[int] = field(default_factory=set)
    """Places, among those, that a step has begun with; known once the engine has ended."""
    counted: int = 0
    """Tokens of this part that `RemoteEngine` counts for its caller."""

    def __post_init__(self) -> None:
        self.waiting = set(range(len(self.indices)))

    def tokens(self) -> int:
        """The tokens that are not answered."""
        return sum(len(self.sequences[place]) for place in self.waiting)


def result_ring_bytes(max_tokens: int, hidden_size: int) -> int:
    """Bytes of the ring for the results of a model with this window: the states of the tokens of its
    longest text are one payload, and a payload is at most a quarter of a ring."""
    largest = messages.token_states_bytes(max_tokens, hidden_size)
    return max(LEAST_RESULT_RING_BYTES, 4 * largest)


OnResults = Callable[[RemoteSubmission, Results], None]


class RemoteEngine:
    """One engine in another process. Any thread may call it; one calls `read` when `fileno` is readable.

    `read` raises LinkClosed when the engine has ended; `take_unanswered` then returns its work.
    """

    def __init__(
        self,
        index: int,
        path: str,
        *,
        max_queue_tokens: int,
        result_ring_bytes: int,
        on_results: OnResults,
    ) -> None:
        """Connects to the engine that listens at `path`. Raises OSError."""
        self.index = index
        self._max_queue_tokens = max_queue_tokens
        self._on_results = on_results
        self._link = Link.connect(
            path,
            out_bytes=4 * max(BYTES_PER_TOKEN * max_queue_tokens, 1 << 16),
            in_bytes=result_ring_bytes,
        )
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._parts: dict[int, RemoteSubmission] = {}
        self._by_submission: dict[Submission, list[int]] = {}
        self._by_caller: dict[int, int] = {}  # tokens that are not answered
        self._unseen: deque[tuple[int, int]] = deque()  # number, tokens
        self._unseen_tokens = 0

    def fileno(self) -> int:
        return self._link.fileno()

    def close(self) -> None:
        self._link.close()

    @property
    def queued_tokens(self) -> int:
        """Tokens that the engine shows as queued, and those sent that it has not seen yet."""
        with self._lock:
            seen = self._link.board.seen
            while self._unseen and self._unseen[0][0] <= seen:
                self._unseen_tokens -= self._unseen.popleft()[1]
            return self._link.board.queued_tokens + self._unseen_tokens

    def state(self) -> EngineState:
        return EngineState(self.queued_tokens, self._link.board.token_rate)

    def submit(self, part: RemoteSubmission) -> None:
        """Raises Overloaded if the engine does not read its link, and LinkClosed if it has ended."""
        with self._lock:
            number = next(self._numbers)
            if sent := self._send(_submit_message(number, part)):
                self._parts[number] = part
                self._by_submission.setdefault(part.submission, []).append(number)
                self._count(part)
                self._unseen.append((number, part.counted))
                self._unseen_tokens += part.counted
        if not sent:
            queue = self._queue_state(part.submission.caller)
            raise queue.refusal(QUEUE_FULL, "the engine does not take what it was sent")

    def _send(self, message: Message) -> bool:
        body, payload = message.encode()
        return self._link.send(body, *payload)

    def check_room(self, coming: int, guess: int, *, caller: int, deadline: float | None) -> None:
        """Refuses as the engine would, by what this process knows of it; see `QueueState.check_room`."""
        left = None if deadline is None else deadline - time.monotonic()
        self._queue_state(caller).check_room(coming, guess, seconds_left=left)

    def _queue_state(self, caller: int) -> QueueState:
        """The queue as the engine shows it, and the tokens that the caller has there from this front."""
        return QueueState(
            queued_tokens=self.queued_tokens,
            max_queue_tokens=self._max_queue_tokens,
            caller_tokens=self._by_caller.get(caller, 0),
            token_rate=self._link.board.token_rate,
        )

    def cancel(self, submission: Submission) -> None:
        with self._lock:
            for number in list(self._by_submission.get(submission, ())):
                self._forget(number, self._parts[number])
                try:
                    # Without room on the link the engine computes the texts in vain; nothing else.
                    self._send(Cancel(number))
                except LinkClosed:
                    return

    def read(self) -> None:
        """Delivers the results that have arrived. Raises LinkClosed."""
        self._link.flush()
        for body, payload in self._link.receive():
            match messages.decode(body, payload):
                case Answer(number, results):
                    self._take(number, results)

    def _take(self, number: int, results: Results) -> None:
        with self._lock:
            part = self._parts.get(number)
            if part is None:
                return  # cancelled meanwhile
            part.waiting.difference_update(results.indices)
            part.running.difference_update(results.indices)
            self._count(part)
            if not part.waiting:
                self._forget(number, part)
        self._on_results(part, results)

    def _count(self, part: RemoteSubmission) -> None:
        """Updates the tokens that its caller waits for."""
        caller = part.submission.caller
        now = part.tokens()
        total = self._by_caller.get(caller, 0) + now - part.counted
        part.counted = now
        if total:
            self._by_caller[caller] = total
        else:
            self._by_caller.pop(caller, None)

    def _forget(self, number: int, part: RemoteSubmission) -> None:
        part.waiting.clear()
        self._count(part)
        del self._parts[number]
        numbers = self._by_submission[part.submission]
        numbers.remove(number)
        if not numbers:
            del self._by_submission[part.submission]

    def _note_running(self) -> None:
        for number, index in self._link.board.running():
            if (part := self._parts.get(number)) is not None and index in part.waiting:
                part.running.add(index)

    def take_unanswered(self) -> list[RemoteSubmission]:
        """Removes and returns all parts, with the places that ran; once the engine has ended."""
        with self._lock:
            self._note_running()
            parts = list(self._parts.values())
            self._parts.clear()
            self._by_submission.clear()
            return parts

    def take_waiting(self) -> list[tuple[RemoteSubmission, list[int]]]:
        """Removes, cancels at the engine and returns the parts that no step has begun with, with the places
        that are not answered."""
        with self._lock:
            self._note_running()
            taken = []
            for number, part in list(self._parts.items()):
                if part.running:
                    continue
                taken.append((part, sorted(part.waiting)))
                self._forget(number, part)
                with contextlib.suppress(LinkClosed):
                    self._send(Cancel(number))
            return taken

    def __len__(self) -> int:
        """The number of submissions that are not answered."""
        return len(self._by_submission)


def _submit_message(number: int, part: RemoteSubmission) -> Submit:
    submission = part.submission
    return Submit(
        number=number,
        sequences=part.sequences,
        deadline=submission.deadline,
        priority=submission.priority,
        caller=submission.caller,
        flow=submission.flow,
        bulk=submission.bulk,
        alone=part.alone,
        output=submission.output,
    )
