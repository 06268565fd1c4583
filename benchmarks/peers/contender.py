"""What every contender is to the benchmark."""

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.packing import TokenIds

Vectors = NDArray[np.float32]
Precision = Literal["float32", "bfloat16", "int8"]
Counts = Literal["texts", "tokens"]


class Contender(Protocol):
    """Texts in, vectors out, with an engine of its own."""

    name: str
    """Library and what it computes in, such as "onnxruntime/int8"."""
    precision: Precision
    counts: Counts
    """What the size of a step is counted in."""
    sizes: tuple[int, ...]
    """The sizes to choose the fastest of."""

    def embed(self, texts: Sequence[str], size: int) -> Vectors:
        """fp32 [n, dimensions], rows of length one; steps of `size`. Tokenizing is part of it."""


class NotRun(Exception):
    """Why a contender takes no part."""


def steps(sequences: Sequence[TokenIds], size: int) -> Iterator[list[int]]:
    """Indices of at most `size` sequences a step, of similar length: what pads wants them sorted."""
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    return (order[i : i + size] for i in range(0, len(order), size))


def filled(sequences: Sequence[TokenIds], budget: int) -> Iterator[list[int]]:
    """Indices in order, as many a step as have at most `budget` tokens; a longer one goes alone."""
    step, tokens = list[int](), 0
    for i, ids in enumerate(sequences):
        if step and tokens + len(ids) > budget:
            yield step
            step, tokens = [], 0
        step.append(i)
        tokens += len(ids)
    if step:
        yield step
