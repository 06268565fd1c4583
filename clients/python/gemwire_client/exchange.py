"""The books of an `embed_iter`: ids, credit, order, and what is still unanswered. No I/O but the log.

Texts get ids in the order they were read. Answers are yielded in that order, or as they come. One stream
follows another: when a server goes away, or has no room for a text, the stream is read until all that it
was sent is answered, and the next one is sent what is unanswered and no more.

A stream is half-closed only then. The server does not wait for it, and a proxy may: from there on Envoy
counts its route's time limit, 15 s unless it is set.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator

import grpc

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client.errors import (
    ConnectionLost,
    DeadlineExceeded,
    GemwireError,
    Unavailable,
    from_status,
    model_changed,
    too_large,
)
from gemwire_client.foreign import DURATION_LIMIT, cut, cut_in_vain, proxy_timeout
from gemwire_client.patience import Patience
from gemwire_client.requests import Limits, room_for_texts
from gemwire_client.vectors import Vector, decode

log = logging.getLogger(__name__)

# Texts of a message: enough that a message's own cost vanishes among them.
TEXTS_PER_MESSAGE = 64
BYTES_PER_MESSAGE = 1 << 20
# After this many streams that met no server (some seconds), the log says that the client waits.
SILENT_FAILURES = 5
# Two streams in a row that answer nothing and are cut at the same age, give or take a part of it, are cut
# by a clock. Younger streams may as well have met a server that starts.
SAME_AGE = 0.1
LEAST_AGE_SECONDS = 0.5

Answer = Vector | GemwireError
OnTokens = Callable[[int], None] | None


class _Entry:
    __slots__ = ("answer", "id", "input", "sent", "under_way")

    def __init__(self, number: int, message: pb.EmbedInput) -> None:
        self.id = number
        self.input = message
        self.sent = 0  # times
        self.under_way = False  # sent on this stream and not yet answered
        self.answer: Answer | None = None


class Exchange:
    """Feed it texts and the server's messages; take messages to send, and answers in order.

    A transport calls `begin`, then in turns `add` while `wanted`, `next_batch`, half-closes on
    `sending_done`, `receive` and `ready`; at the stream's end `ended`, and begins again or is done.
    """

    def __init__(
        self,
        limits: Limits,
        patience: Patience,
        on_tokens: OnTokens = None,
        timeout: float | None = None,
        *,
        ordered: bool = True,
    ) -> None:
        self._timeout = timeout
        self._ordered = ordered
        self._texts_per_message = min(TEXTS_PER_MESSAGE, limits.max_inputs_per_request)
        self._bytes_per_message = min(BYTES_PER_MESSAGE, room_for_texts(limits))
        self._patience = patience
        self._on_tokens = on_tokens
        self.source_ended = False
        self._count = 0
        self._revision: str | None = None
        self._largest = room_for_texts(limits)
        self._limit = limits.max_request_bytes
        self._held = 0  # texts read and not yet yielded
        self._line: deque[_Entry] = deque()  # those, or only the answered ones if not `ordered`
        self._by_id: dict[int, _Entry] = {}  # read, and not yet answered; in order
        self._failures = 0  # streams in a row that were opened and answered nothing
        self._absences = 0  # streams in a row that no server opened
        self._absent_since = 0.0
        self._cut_at: float | None = None  # the age at which the last one of them was cut
        self.begin()

    def begin(self) -> None:
        """Begins a new stream. Nothing may be sent before the server has granted credit."""
        self._window = self._credit = 0
        self._leaving = False
        self._under_way = 0  # texts sent on this stream and not yet answered
        self._opened_at = 0.0
        self._rest = 0.0  # seconds before the next stream
        self._progress = False
        self._unsent = deque(self._by_id.values())
        for entry in self._unsent:
            entry.under_way = False

    @property
    def wanted(self) -> bool:
        """Whether one more text may be read now. At most the window is read ahead of the yielded texts,
        so that the others do not pile up behind a text that takes long."""
        if self.source_ended or self._leaving or len(self._unsent) >= self._texts_per_message:
            return False
        return self._credit > len(self._unsent) and self._window > self._held

    @property
    def sending_done(self) -> bool:
        """Whether this stream is to be half-closed."""
        return not self._under_way and (self._leaving or (self.source_ended and not self._unsent))

    @property
    def waiting(self) -> bool:
        """Whether the server must act next: it owes the stream's opening, an answer or the stream's end."""
        return not self._window or bool(self._by_id) or self.sending_done

    @property
    def finished(self) -> bool:
        """Whether every text was read and answered."""
        return self.source_ended and not self._by_id

    def add(self, message: pb.EmbedInput) -> None:
        """Takes the next text."""
        entry = _Entry(self._count, message)
        self._count += 1
        self._held += 1
        if self._ordered:
            self._line.append(entry)
        if (size := message.ByteSize()) > self._largest:
            self._settle(entry, too_large(size, self._limit, entry.id))
            return
        self._by_id[entry.id] = entry
        self._unsent.append(entry)

    def next_batch(self) -> pb.EmbedStreamRequest | None:
        """The next message to send, as far as there is credit. Ids in a message follow each other."""
        batch = pb.StreamBatch()
        size = 0
        while self._unsent and self._credit and not self._leaving:
            entry = self._unsent[0]
            count = len(batch.inputs)
            size += entry.input.ByteSize()
            if count and (
                count == self._texts_per_message
                or size > self._bytes_per_message
                or entry.id != batch.first_id + count
            ):
                break
            if not count:
                batch.first_id = entry.id
            batch.inputs.append(entry.input)
            self._unsent.popleft()
            entry.sent += 1
            entry.under_way = True
            self._credit -= 1
            self._under_way += 1
        return pb.EmbedStreamRequest(batch=batch) if batch.inputs else None

    def receive(self, message: pb.EmbedStreamResponse) -> None:
        """Takes a message of the server."""
        match message.WhichOneof("payload"):
            case "opened":
                if self._revision not in (None, message.opened.model_revision):
                    raise model_changed()
                self._revision = message.opened.model_revision
                self._window = self._credit = message.opened.max_inflight_inputs
                self._opened_at = time.monotonic()
            case "go_away":
                self._leave(message.go_away.reconnect_after.ToNanoseconds() / 1e9)
            case "results":
                self._credit += message.results.granted_inputs
                for result in message.results.results:
                    self._answer(result)

    def ready(self) -> Iterator[tuple[int, Answer]]:
        """Answers whose turn has come, with the ids of their texts."""
        while self._line and (answer := self._line[0].answer) is not None:
            self._held -= 1
            yield self._line.popleft().id, answer

    def ended(self, error: GemwireError | None) -> float:
        """The stream is over: seconds to wait before the next one, of use unless `finished`. Raises its
        error where another stream would not help or was tried often enough."""
        if self.finished:
            return 0.0
        if type(error) is DeadlineExceeded:
            # Streams bring no deadline: one that the server knows of is a proxy's time limit.
            if not self._window:
                raise proxy_timeout(f"{error.code.name}: {error}", error.code, DURATION_LIMIT)
            error = cut(error)
        self._check_time_limit(error)
        left = error is None and self._leaving
        if error is None:
            error = Unavailable("the server ended the stream", code=grpc.StatusCode.UNAVAILABLE)
        if isinstance(error, Unavailable) and not self._window:
            return self._absence(error)
        self._absences = 0
        fruitful = self._progress or self._idled(error)
        self._failures = 0 if fruitful else self._failures + 1
        if left and self._failures < self._patience.attempts:
            return self._rest
        # A text that ends every stream it is on must not be sent for ever.
        sent = max((entry.sent for entry in self._by_id.values()), default=0)
        pause = self._patience.pause(error, max(1, self._failures, sent), float("inf"))
        if pause is None:
            if isinstance(error, ConnectionLost) and error.reset and not self._progress:
                raise cut_in_vain(error, self._failures)
            raise error
        if self._progress and isinstance(error, ConnectionLost):
            pause = self._patience.backoff(0)  # a server is there
        return max(pause, self._rest)

    def _absence(self, error: Unavailable) -> float:
        """The pause while no server is there: a restart may take longer than a few tries."""
        now = time.monotonic()
        if not self._absences:
            self._absent_since = now
        left = float("inf") if self._timeout is None else self._absent_since + self._timeout - now
        if left <= 0:
            raise error
        self._absences += 1
        if self._absences == SILENT_FAILURES:
            log.warning("%s; trying on", error)
        pause = self._patience.backoff(self._absences)
        return min(left, max(self._rest, pause, error.retry_after or 0.0))

    def _idled(self, error: GemwireError | None) -> bool:
        """Whether the stream was cut while no answer was due, which is no sign of a bad server."""
        lost = isinstance(error, ConnectionLost) and bool(self._window) and not self._by_id
        return lost and self._age() >= LEAST_AGE_SECONDS

    def _age(self) -> float:
        """The stream's age in seconds, since the server opened it."""
        return time.monotonic() - self._opened_at

    def _check_time_limit(self, error: GemwireError | None) -> None:
        """Raises ProxyTimeout where a clock cuts streams. It leaves no other trace: a proxy ends a stream
        that was opened in one way, whether its time is over or its server died."""
        before, self._cut_at = self._cut_at, None
        if not isinstance(error, ConnectionLost) or not error.reset:
            return
        age = self._age()
        if self._progress or not self._window or not self._by_id or age < LEAST_AGE_SECONDS:
            return
        if before is not None and abs(age - before) < SAME_AGE * age:
            said = f"two streams in a row were cut after {age:.1f} s without an answer: {error}"
            raise proxy_timeout(said, error.code)
        self._cut_at = age

    def _answer(self, result: pb.StreamResult) -> None:
        entry = self._by_id.get(result.id)
        outcome = result.WhichOneof("outcome")
        if entry is None or not entry.under_way or outcome is None:
            return  # not due, or of a newer server
        entry.under_way = False
        self._under_way -= 1
        if outcome == "embedding":
            self._settle(entry, _decoded(result))
            if self._on_tokens is not None:
                self._on_tokens(result.embedding.token_count)
        else:
            error = from_status(result.error, entry.id)
            if isinstance(error, DeadlineExceeded):
                error = proxy_timeout(f"{error.code.name}: {error}", error.code, DURATION_LIMIT)
                error.index = entry.id
                pause = 0.0 if entry.sent < self._patience.attempts else None
            else:
                pause = self._patience.pause(error, entry.sent, float("inf"))
            if pause is not None:  # another stream's work: this one ends, or the server has no room
                self._leave(pause)
                return
            self._settle(entry, error)
        self._progress = True
        del self._by_id[entry.id]

    def _settle(self, entry: _Entry, answer: Answer) -> None:
        entry.answer = answer
        if not self._ordered:
            self._line.append(entry)

    def _leave(self, rest: float) -> None:
        self._leaving = True
        self._rest = max(self._rest, rest)


def _decoded(result: pb.StreamResult) -> Answer:
    """The vector of a result, or the error of this text where the client does not know the encoding."""
    try:
        return decode(result.embedding)
    except GemwireError as error:
        error.index = result.id
        return error
