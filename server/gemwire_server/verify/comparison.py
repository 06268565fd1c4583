"""How far vectors are from a reference, and how far they may be."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gemwire_server.verify.embedding import Vectors

RANGES = ((1, 16), (17, 64), (65, 256), (257, 512), (513, 1 << 30), (1, 1 << 30))  # tokens
MEAN_LIMIT, MAX_LIMIT = 2e-4, 1e-3
INT8_MEAN_LIMIT, INT8_MAX_LIMIT = 2e-3, 1e-2
BF16_MEAN_LIMIT = 5e-4  # of the engine against the bf16 reference: both err
NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Errors:
    """How far vectors are from a reference, over some texts."""

    mean: float
    p99: float
    maximum: float
    max_abs: float

    @classmethod
    def of(cls, vectors: Vectors, reference: Vectors) -> "Errors":
        a, b = vectors.astype(np.float64), reference.astype(np.float64)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        distance = np.maximum(0, 1 - (a * b).sum(axis=1) / lengths)
        return cls(
            mean=float(distance.mean()),
            p99=float(np.percentile(distance, 99)),
            maximum=float(distance.max()),
            max_abs=float(np.abs(a - b).max()),
        )


def gate(engine: Errors, bf16: Errors) -> list[str]:
    """Describes each figure that is outside the gate."""
    return _over(
        [
            ("mean", engine.mean, bf16.mean, "the bf16 reference's"),
            ("p99", engine.p99, bf16.p99, "the bf16 reference's"),
            ("mean", engine.mean, MEAN_LIMIT, "the limit"),
            ("maximum", engine.maximum, MAX_LIMIT, "the limit"),
        ]
    )


def gate_int8(engine: Errors) -> list[str]:
    """Like `gate`, for int8 weights, to which the bf16 reference is no measure."""
    return _over(
        [
            ("mean", engine.mean, INT8_MEAN_LIMIT, "the limit"),
            ("maximum", engine.maximum, INT8_MAX_LIMIT, "the limit"),
        ]
    )


def _over(limits: list[tuple[str, float, float, str]]) -> list[str]:
    return [
        f"{what} 1-cos {value:.2e} is over {whose} {limit:.2e}"
        for what, value, limit, whose in limits
        if not value <= limit  # not >: a NaN fails
    ]


def gate_bf16(errors: Errors, int8: bool) -> list[str]:
    limit = BF16_MEAN_LIMIT + (INT8_MEAN_LIMIT if int8 else 0)
    return _over([("mean", errors.mean, limit, "the limit")])


def overlap(vectors: Vectors, reference: Vectors) -> float:
    """The share of each text's nearest other texts that the reference finds too, as a mean."""
    found, expected = _nearest(vectors), _nearest(reference)
    shares = [len(set(a) & set(b)) / len(b) for a, b in zip(found, expected, strict=True) if b]
    return float(np.mean(shares)) if shares else 1.0


def _nearest(vectors: Vectors) -> list[list[int]]:
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    nearest: list[list[int]] = np.argsort(-cosines, axis=1, kind="stable").tolist()
    return [row[: min(NEIGHBOURS, len(row) - 1)] for row in nearest]


def print_table(
    rows: dict[str, tuple[Vectors, Vectors]], lengths: NDArray[np.int64], against: str
) -> None:
    """Prints a block for each range of lengths, with a line for each row's name."""
    print(f"1 - cos against the {against} reference")
    print(f"{'tokens':>11} {'n':>5}  {'':22} {'mean':>9} {'p99':>9} {'max':>9} {'max abs':>9}")
    for low, high in RANGES:
        chosen = (lengths >= low) & (lengths <= high)
        if not chosen.any():
            continue
        label = f"{lengths[chosen].min()}-{lengths[chosen].max()}"
        for name, (vectors, reference) in rows.items():
            e = Errors.of(vectors[chosen], reference[chosen])
            print(
                f"{label:>11} {chosen.sum():>5}  {name:22} "
                f"{e.mean:9.2e} {e.p99:9.2e} {e.maximum:9.2e} {e.max_abs:9.2e}"
            )
