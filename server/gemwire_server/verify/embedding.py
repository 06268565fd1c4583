"""The vectors of an engine, without a server."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.packing import PackedBatch, TokenIds, pack

Vectors = NDArray[np.float32]

BATCH_TOKENS = 4096  # of a step, where the engine's are not smaller


class Runs(Protocol):
    """Embeds packed batches."""

    def run(self, batch: PackedBatch) -> Vectors:
        """fp32 [n, dimensions]."""
        ...


def embed(runner: Runs, ids: Sequence[TokenIds], budget: int = BATCH_TOKENS) -> Vectors:
    """fp32 [n, dimensions], in packed batches of about `budget` tokens."""
    parts, batch, tokens = [], list[TokenIds](), 0
    for sequence in ids:
        if batch and tokens + len(sequence) > budget:
            parts.append(runner.run(pack(batch)))
            batch, tokens = [], 0
        batch.append(sequence)
        tokens += len(sequence)
    parts.append(runner.run(pack(batch)))
    return np.concatenate(parts)
