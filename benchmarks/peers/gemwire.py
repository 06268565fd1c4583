"""This engine: batches as the scheduler forms them, run by the runner."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gemwire_server.checkpoints import Checkpoint
from gemwire_server.engine.interface import Submission
from gemwire_server.engine.packing import TokenIds, pack
from gemwire_server.engine.scheduler import Scheduler
from gemwire_server.runners.cpu import CpuRunner
from peers.contender import Counts, Precision, Vectors


class Gemwire:
    counts: Counts = "tokens"
    sizes: tuple[int, ...] = (256, 512, 1024, 2048)

    def __init__(self, checkpoint: Checkpoint, weights: str = "auto") -> None:
        """Loads the engine. `weights` is "int8", or "auto" for the format that the machine serves in."""
        self.runner = CpuRunner.load(checkpoint, dtype="auto", threads=0, weights=weights)
        precision: Any = "int8" if weights == "int8" else self.runner.dtype_name
        self.precision: Precision = precision
        self.name = f"gemwire/{precision}"
        self._tokenizer = checkpoint.load_tokenizer()

    def embed(self, texts: Sequence[str], size: int) -> Vectors:
        sequences = [self._tokenizer.encode(text).ids for text in texts]
        return np.concatenate([self.runner.run(pack(step)) for step in batches(sequences, size)])


def batches(sequences: Sequence[TokenIds], budget: int) -> Iterator[list[TokenIds]]:
    """Yields the batches that the scheduler forms of the sequences, in order."""
    scheduler = Scheduler(max_batch_tokens=budget, max_queue_tokens=1 << 30, clock=time.monotonic)
    owner = Submission(deliver=lambda results: None)
    scheduler.add(owner, sequences)
    while len(scheduler):
        items, _ = scheduler.next_batch()
        yield [item.input_ids for item in items]
