"""A runner that tests can hold, break and watch, and callers of an engine."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.interface import Engine, Observer, Output, Results, Submission
from gemwire_server.engine.packing import PackedBatch, TokenIds
from gemwire_server.engine.scheduler import Item
from gemwire_server.errors import DeviceLost, GemwireError

POISON, NOT_A_NUMBER, LOST, LOST_AT_ONCE = 13, 66, 77, 78
WAIT = 20.0  # seconds until a wait counts as hung


class FakeRunner:
    """A text's vector is (its first id, its length); for the output RAW both are negative, and for TOKENS
    each token's row is (its id, the text's length). `gate` holds each step until it is set; with a
    depth of 2 a second may have begun before. `during` is called in each step with its number,
    from 0, and breaks the step if it raises."""

    def __init__(self, depth: int = 1) -> None:
        self.depth = depth
        self.during: Callable[[int], None] = lambda number: None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.batches: list[PackedBatch] = []
        self.outputs: list[Output] = []
        self.threads: set[int] = set()

    def start(self, batch: PackedBatch, output: Output) -> Callable[[], NDArray[np.float32]]:
        self.batches.append(batch)
        self.outputs.append(output)
        self.threads.add(threading.get_ident())
        if LOST_AT_ONCE in batch.input_ids:
            raise DeviceLost
        self.entered.release()
        return partial(self._wait, batch, output, len(self.batches) - 1)

    def _wait(self, batch: PackedBatch, output: Output, number: int) -> NDArray[np.float32]:
        assert self.gate.wait(WAIT)
        self.during(number)
        if POISON in batch.input_ids:
            raise RuntimeError("broken on purpose")
        if LOST in batch.input_ids:
            raise DeviceLost
        lengths = np.diff(batch.cu_seqlens)
        ids = batch.input_ids.astype(np.float32)
        ids[ids == NOT_A_NUMBER] = np.nan
        if output is Output.TOKENS:
            return np.stack([ids, np.repeat(lengths, lengths).astype(np.float32)], axis=1)
        vectors = np.stack([ids[batch.cu_seqlens[:-1]], lengths.astype(np.float32)], axis=1)
        return vectors if output is Output.UNIT else -vectors


class Caller:
    """Collects the results of a submission."""

    def __init__(self, expected: int, **options: float) -> None:
        self.results: list[Results] = []
        self.done = threading.Event()
        self.expected = self._pending = expected
        self.submission = Submission(self._deliver, **options)  # type: ignore[arg-type]

    def _deliver(self, results: Results) -> None:
        self.results.append(results)
        self._pending -= len(results.indices)
        if not self._pending:
            self.done.set()

    def vectors(self) -> dict[int, list[float]]:
        assert self.done.wait(WAIT), "not answered"
        return {
            index: row.tolist()
            for part in self.results
            if part.vectors is not None
            for index, row in zip(part.indices, part.vectors, strict=True)
        }

    def errors(self) -> dict[int, type]:
        assert self.done.wait(WAIT), "not answered"
        return {i: type(part.error) for part in self.results if part.error for i in part.indices}


def text(first: int, length: int) -> TokenIds:
    ids = np.full(length, 1, np.int32)
    ids[0] = first
    return ids


def refusal(engine: Engine, sequences: Sequence[TokenIds]) -> type:
    """The error of a submission that is refused: the engine raises it, or delivers it for all the texts."""
    caller = Caller(len(sequences))
    try:
        engine.submit(sequences, caller.submission)
    except GemwireError as error:
        return type(error)
    errors = caller.errors()
    assert len(errors) == len(sequences)
    (kind,) = set(errors.values())
    return kind


def eventually(holds: Callable[[], bool]) -> None:
    """Waits until it holds: an engine in another process reports with a delay."""
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def hold(engine: Engine, runner: FakeRunner) -> Caller:
    """Occupies the device with one text until the gate is set."""
    runner.gate.clear()
    caller = Caller(1)
    engine.submit([text(1, 1)], caller.submission)
    assert runner.entered.acquire(timeout=WAIT)
    return caller


class Books(Observer):
    """Counts what an engine tells, and raises after it has where a test wants that."""

    def __init__(self, raises: bool = False) -> None:
        self.told: Counter[str] = Counter()
        self._raises = raises

    def begun(self, items: Sequence[Item]) -> None:
        self._raise()

    def ended(self, items: Sequence[Item], waits: Sequence[float], seconds: float) -> None:
        assert len(items) == len(waits) > 0 and seconds >= 0
        self.told["ended"] += len(items)
        self._raise()

    def dropped(self, reason: str, texts: int) -> None:
        assert texts > 0
        self.told[reason] += texts
        self._raise()

    def _raise(self) -> None:
        if self._raises:
            raise RuntimeError("a bug of the observer")
