"""The books of an `embed_iter`: ids, credit, order, and what is still unanswered. No I/O.

Texts get ids in the order they were read and are yielded in that order. A stream that ends or says
goodbye before all is answered is followed by another, which is sent what is unanswered and no more.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import grpc

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client.errors import GemwireError, Unavailable, from_status
from gemwire_client.requests import Limits, room_for_texts
from gemwire_client.vectors import Vector, decode

# Texts of a message: enough that a message's own cost vanishes among them.
TEXTS_PER_MESSAGE = 64
BYTES_PER_MESSAGE = 1 << 20

Answer = Vector | GemwireError


class _Entry:
    __slots__ = ("answer", "id", "input")

    def __init__(self, number: int, message: pb.EmbedInput) -> None:
        self.id = number
        self.input = message
        self.answer: Answer | None = None


class Exchange:
    """Feed it texts and the server's messages; take messages to send, and answers in order."""

    def __init__(self, limits: Limits, on_tokens: Callable[[int], None] | None) -> None:
        self._on_tokens = on_tokens
        self._texts_per_message = min(TEXTS_PER_MESSAGE, limits.max_inputs_per_request)
        self._bytes_per_message = min(BYTES_PER_MESSAGE, room_for_texts(limits))
        self.going_away = False
        self.source_ended = False
        self._opened = False
        self._credit = 0
        self._count = 0
        self._in_order: deque[_Entry] = deque()
        self._by_id: dict[int, _Entry] = {}
        self._unsent: deque[_Entry] = deque()

    @property
    def wanted(self) -> int:
        """How many more texts may be read now."""
        if self.source_ended or self.going_away:
            return 0
        return max(0, min(self._texts_per_message, self._credit - len(self._unsent)))

    @property
    def nothing_more_to_send(self) -> bool:
        """Whether this stream is to be half-closed."""
        return self.going_away or (self._opened and self.source_ended and not self._unsent)

    @property
    def finished(self) -> bool:
        """Whether every text was read and answered."""
        return self.source_ended and not self._by_id

    def add(self, messages: Sequence[pb.EmbedInput]) -> None:
        """Texts that were read; fewer than wanted: there are no more."""
        for message in messages:
            entry = _Entry(self._count, message)
            self._count += 1
            self._in_order.append(entry)
            self._by_id[entry.id] = entry
            self._unsent.append(entry)

    def begin(self) -> None:
        """A new stream, which has granted nothing yet: what is unanswered is to be sent on it."""
        self.going_away = self._opened = False
        self._credit = 0
        self._unsent = deque(self._by_id[number] for number in sorted(self._by_id))

    def next_batch(self) -> pb.EmbedStreamRequest | None:
        """The next message to send, as far as there is credit."""
        batch = pb.StreamBatch()
        size = 0
        while self._unsent and self._credit and not self.going_away:
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
            self._credit -= 1
        return pb.EmbedStreamRequest(batch=batch) if batch.inputs else None

    def receive(self, message: pb.EmbedStreamResponse) -> None:
        """Takes what the server said."""
        match message.WhichOneof("message"):
            case "opened":
                self._opened = True
                self._credit = message.opened.max_inflight_inputs
            case "go_away":
                self.going_away = True
            case "results":
                self._credit += message.results.granted_inputs
                for result in message.results.results:
                    self._answer(result)

    def ended(self, error: GemwireError | None) -> None:
        """The stream is over. Raises its error, or Unavailable if it ended before all was answered."""
        if error is not None:
            raise error
        if not self.finished:
            raise Unavailable("the server ended the stream early", code=grpc.StatusCode.UNAVAILABLE)

    def _answer(self, result: pb.StreamResult) -> None:
        entry = self._by_id.get(result.id)
        if entry is None:
            return
        if result.WhichOneof("result") == "embedding":
            entry.answer = decode(result.embedding)
            if self._on_tokens is not None:
                self._on_tokens(result.embedding.token_count)
        else:
            error = from_status(result.error, entry.id)
            if isinstance(error, Unavailable):
                # The server drains and did not compute it: another stream's work.
                self.going_away = True
                return
            entry.answer = error
        del self._by_id[entry.id]

    def ready(self) -> Iterator[Answer]:
        """Answers whose turn has come."""
        while self._in_order and self._in_order[0].answer is not None:
            answer = self._in_order.popleft().answer
            assert answer is not None
            yield answer
