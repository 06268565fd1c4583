"""Checks a contender's vectors, and finds its fastest batch size."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.packing import TokenIds
from measure import seconds
from peers.contender import Contender, NotRun, Precision, Vectors, filled, steps
from workloads import Workload

# Largest 1 - cos to sentence-transformers in float32. For wrong vectors it is of the order of 1.
AGREEMENT: dict[Precision, float] = {"float32": 1e-5, "bfloat16": 3e-3, "int8": 3e-2}


@dataclass(slots=True, kw_only=True)
class Entry:
    """A contender on one workload. `figures` has one of each round, `tried` one of each size."""

    contender: str
    workload: Workload
    run: Callable[[], object]
    size: int
    counts: str
    tried: dict[int, float] = field(default_factory=dict)
    figures: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "counts": self.counts,
            "median": statistics.median(self.figures),
            "rounds": self.figures,
            "tried": self.tried,
        }


def enter(
    contender: Contender,
    workload: Workload,
    sequences: Sequence[TokenIds],
    truth: Vectors,
    served: int | None,
) -> tuple[Entry, NDArray[np.float64]]:
    """Returns the entry at its fastest size, or at `served`, and the distance of each vector.

    `sequences` are the workload's token ids. Raises NotRun for wrong vectors.
    """
    contender.embed(workload.texts[:2], contender.sizes[0])
    tried: dict[int, float] = {}
    distances: dict[int, NDArray[np.float64]] = {}
    for size in different(contender, sequences, served):
        found: list[Vectors] = []
        time = seconds(lambda s=size, f=found: f.append(contender.embed(workload.texts, s)))  # type: ignore[misc]
        tried[size] = workload.value(time)
        distances[size] = distance(found[0], truth)
        check(contender, distances[size])
    fastest = (min if workload.unit == "ms" else max)(tried, key=lambda size: tried[size])
    chosen = fastest if served is None else served
    entry = Entry(
        contender=contender.name,
        workload=workload,
        run=lambda: contender.embed(workload.texts, chosen),
        size=chosen,
        counts=contender.counts,
        tried=tried,
    )
    return entry, distances[chosen]


def different(
    contender: Contender, sequences: Sequence[TokenIds], served: int | None = None
) -> list[int]:
    """Returns the sizes to try; of sizes that make the same steps only `served`, or else the first."""
    split = steps if contender.counts == "texts" else filled
    sizes = contender.sizes if served is None else (served, *contender.sizes)
    by_steps: dict[str, int] = {}
    for size in sizes:
        by_steps.setdefault(str(list(split(sequences, size))), size)
    return sorted(by_steps.values())


def distance(vectors: Vectors, truth: Vectors) -> NDArray[np.float64]:
    """Returns 1 - cos of each row."""
    a, b = vectors.astype(np.float64), truth.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    result: NDArray[np.float64] = np.maximum(0, 1 - (a * b).sum(1) / lengths)
    return result


def check(contender: Contender, distances: NDArray[np.float64]) -> None:
    if not distances.max() <= AGREEMENT[contender.precision]:  # not >: a NaN fails
        raise NotRun(f"gives other vectors: 1 - cos up to {distances.max():.1e}")
