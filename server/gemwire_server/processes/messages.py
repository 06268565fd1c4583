"""The messages between a front and an engine, as bodies of a link's records and payloads.

The first byte of a body says which message it is. A front numbers its submissions from 1.
"""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from gemwire_server.engine.interface import Output, Results, StepTiming
from gemwire_server.engine.packing import TokenIds
from gemwire_server.errors import from_fields, to_fields
from gemwire_server.processes.link import Bytes

SUBMIT, CANCEL, COMPUTED, FAILED = range(1, 5)
BULK, ALONE = 1, 2
OUTPUTS = tuple(Output)
NO_DEADLINE = float("inf")
NO_STEP = StepTiming(0.0, 0.0, 0, 0)
RESULT_BYTES = 1 << 20  # of one message, except for the states of the tokens of one text

Encoded = tuple[bytes, Sequence[Bytes]]
"""The body of a message's record, and the parts of its payload."""


@dataclass(slots=True, eq=False)
class Submit:
    """A front asks for an output of texts. Except for `sequences`, see `Submission`."""

    number: int
    sequences: Sequence[TokenIds]
    deadline: float | None
    priority: int
    caller: int
    flow: int
    bulk: bool
    alone: bool
    output: Output

    # Kind, priority, flags, output, texts, number, deadline, caller, flow.
    _BODY = struct.Struct("<BbBBIQdQQ")

    def encode(self) -> Encoded:
        sequences = self.sequences
        body = self._BODY.pack(
            SUBMIT,
            self.priority,
            BULK * self.bulk + ALONE * self.alone,
            OUTPUTS.index(self.output),
            len(sequences),
            self.number,
            NO_DEADLINE if self.deadline is None else self.deadline,
            self.caller,
            self.flow,
        )
        lengths = np.fromiter((len(ids) for ids in sequences), np.int32, len(sequences))
        ids = np.concatenate(sequences).astype(np.int32, copy=False)
        return body, (lengths.view(np.uint8), ids.view(np.uint8))

    @classmethod
    def decode(cls, body: bytes, payload: Bytes) -> Self:
        _, priority, flags, output, texts, number, deadline, caller, flow = cls._BODY.unpack_from(
            body
        )
        numbers = payload.view(np.int32)
        lengths, ids = numbers[:texts], numbers[texts:]
        return cls(
            number,
            np.split(ids, np.cumsum(lengths)[:-1]),
            None if deadline == NO_DEADLINE else deadline,
            priority,
            caller,
            flow,
            bool(flags & BULK),
            bool(flags & ALONE),
            OUTPUTS[output],
        )


@dataclass(slots=True, eq=False)
class Cancel:
    """A front waits no longer for what is left of a submission."""

    number: int

    _BODY = struct.Struct("<B7xQ")  # kind, number

    def encode(self) -> Encoded:
        return self._BODY.pack(CANCEL, self.number), ()

    @classmethod
    def decode(cls, body: bytes, payload: Bytes) -> Self:
        _, number = cls._BODY.unpack_from(body)
        return cls(number)


@dataclass(slots=True, eq=False)
class Answer:
    """An engine answers some texts of a submission, all with vectors or all with one error."""

    number: int
    results: Results

    # Kind, texts, number, queue seconds, compute seconds, batch texts, batch tokens, numbers of a row.
    _BODY = struct.Struct("<B3xIQddIII")

    def encode(self) -> Encoded:
        results, step = self.results, self.results.step or NO_STEP
        if results.vectors is not None:
            kind, dimensions = COMPUTED, results.vectors.shape[1]
            vectors = np.ascontiguousarray(results.vectors, np.float32)
            content = vectors.reshape(-1).view(np.uint8)
        else:
            assert results.error is not None
            kind, dimensions = FAILED, 0
            content = np.frombuffer(json.dumps(to_fields(results.error)).encode(), np.uint8)
        body = self._BODY.pack(
            kind,
            len(results.indices),
            self.number,
            step.queue_seconds,
            step.compute_seconds,
            step.batch_texts,
            step.batch_tokens,
            dimensions,
        )
        return body, (np.array(results.indices, np.int32).view(np.uint8), content)

    @classmethod
    def decode(cls, body: bytes, payload: Bytes) -> Self:
        kind, texts, number, queued, computed, batch_texts, batch_tokens, dimensions = (
            cls._BODY.unpack_from(body)
        )
        indices: list[int] = payload[: 4 * texts].view(np.int32).tolist()
        content = payload[4 * texts :]
        # A step has a text at least.
        step = StepTiming(queued, computed, batch_texts, batch_tokens) if batch_texts else None
        if kind == FAILED:
            error = from_fields(json.loads(content.tobytes()))
            return cls(number, Results(indices, None, error, step))
        vectors = content.view(np.float32).reshape(-1, dimensions)
        return cls(number, Results(indices, vectors, None, step))


def answers(number: int, results: Results) -> Iterator[Answer]:
    """The results of a submission in messages of about RESULT_BYTES, or one message for one text."""
    if results.vectors is None or len(results.indices) == 1:
        yield Answer(number, results)
        return
    rows = max(1, RESULT_BYTES // (4 * results.vectors.shape[1] + 4))
    for i in range(0, len(results.indices), rows):
        part = slice(i, i + rows)
        yield Answer(
            number,
            Results(results.indices[part], results.vectors[part], None, results.step),
        )


def token_states_bytes(tokens: int, hidden_size: int) -> int:
    """Bytes of the payload that answers one text with a row for each of its tokens."""
    return 4 + 4 * tokens * hidden_size


Message = Submit | Cancel | Answer
_DECODERS: dict[int, Callable[[bytes, Bytes], Message]] = {
    SUBMIT: Submit.decode,
    CANCEL: Cancel.decode,
    COMPUTED: Answer.decode,
    FAILED: Answer.decode,
}


def decode(body: bytes, payload: Bytes) -> Message:
    """Raises KeyError for a body that is no message's."""
    return _DECODERS[body[0]](body, payload)
