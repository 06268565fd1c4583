"""What fronts and engines tell each other over a link."""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.interface import Results, StepTiming, Submission
from gemwire_server.engine.packing import TokenIds
from gemwire_server.errors import from_fields, to_fields
from gemwire_server.processes.link import Bytes, Record

# From a front.
SUBMIT, CANCEL = 1, 2
# From an engine.
RESULTS, FAILED = 3, 4

BULK, ALONE = 1, 2
NO_DEADLINE = float("inf")
RESULT_BYTES = 1 << 20  # of one message


def submit(
    number: int, sequences: Sequence[TokenIds], submission: Submission, *, alone: bool
) -> tuple[Record, list[Bytes]]:
    lengths = np.fromiter((len(ids) for ids in sequences), np.int32, len(sequences))
    deadline = NO_DEADLINE if submission.deadline is None else submission.deadline
    record = Record(
        kind=SUBMIT,
        id=number,
        count=len(sequences),
        priority=submission.priority,
        flags=BULK * submission.bulk + ALONE * alone,
        x=deadline,
        a=submission.caller,
        b=submission.flow,
    )
    ids = np.concatenate(sequences).astype(np.int32, copy=False)
    return record, [lengths.view(np.uint8), ids.view(np.uint8)]


def read_submit(record: Record, payload: Bytes) -> list[TokenIds]:
    numbers = payload.view(np.int32)
    lengths, ids = numbers[: record.count], numbers[record.count :]
    return np.split(ids, np.cumsum(lengths)[:-1])


def cancel(number: int) -> Record:
    return Record(kind=CANCEL, id=number)


def results(number: int, told: Results) -> list[tuple[Record, list[Bytes]]]:
    """In messages of bounded size."""
    if told.vectors is None:
        assert told.error is not None
        indices = np.array(told.indices, np.int32).view(np.uint8)
        error = np.frombuffer(json.dumps(to_fields(told.error)).encode(), np.uint8)
        record = Record(kind=FAILED, id=number, count=len(told.indices))
        return [(record, [indices, error])]
    step = told.step or StepTiming(0.0, 0.0, 0, 0)
    dimensions = told.vectors.shape[1]
    rows = max(1, RESULT_BYTES // (4 * dimensions + 4))
    messages = []
    for i in range(0, len(told.indices), rows):
        indices = np.array(told.indices[i : i + rows], np.int32)
        vectors = np.ascontiguousarray(told.vectors[i : i + rows], np.float32)
        record = Record(
            kind=RESULTS,
            id=number,
            count=len(indices),
            extra=dimensions,
            x=step.queue_seconds,
            y=step.compute_seconds,
            a=step.batch_texts,
            b=step.batch_tokens,
        )
        messages.append((record, [indices.view(np.uint8), vectors.reshape(-1).view(np.uint8)]))
    return messages


def read_results(record: Record, payload: Bytes) -> Results:
    split = 4 * record.count
    indices: list[int] = payload[:split].view(np.int32).tolist()
    if record.kind == FAILED:
        return Results(indices, None, from_fields(json.loads(payload[split:].tobytes())), None)
    vectors: NDArray[np.float32] = payload[split:].view(np.float32).reshape(-1, record.extra)
    return Results(indices, vectors, None, StepTiming(record.x, record.y, record.a, record.b))
