"""Defines the interface of every contender."""

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.packing import TokenIds

Vectors = NDArray[np.float32]
Precision = Literal["float32", "bfloat16", "int8"]
Counts = Literal["texts", "tokens"]


class Contender(Protocol):
    """An engine that turns texts into vectors."""

    name: str
    """The library and its precision, such as "onnxruntime/int8"."""
    precision: Precision
    counts: Counts
    """The unit of a step's size."""
    sizes: tuple[int, ...]
    """The sizes to try, of which the fastest is taken."""

    def embed(self, texts: Sequence[str], size: int) -> Vectors:
        """Computes fp32 [n, dimensions], rows of length one, in steps of `size`. Tokenizing is included."""


class NotRun(Exception):
    """A contender cannot run. The message is the reason."""


def steps(sequences: Sequence[TokenIds], size: int) -> Iterator[list[int]]:
    """Yields indices of at most `size` sequences a step, sorted by length for contenders that pad."""
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    return (order[i : i + size] for i in range(0, len(order), size))


def filled(sequences: Sequence[TokenIds], budget: int) -> Iterator[list[int]]:
    """Yields indices in order, of at most `budget` tokens a step; a longer sequence goes alone."""
    step, tokens = list[int](), 0
    for i, ids in enumerate(sequences):
        if step and tokens + len(ids) > budget:
            yield step
            step, tokens = [], 0
        step.append(i)
        tokens += len(ids)
    if step:
        yield step
