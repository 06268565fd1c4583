"""How long texts are, and how many a call has: distributions of whole numbers >= 1.

64  fixed:64                    always the same
uniform:8:32                    each from 8 to 32 as often
lognormal:40:0.6                median 40, sigma of the logarithm 0.6
0.8*uniform:8:32+0.2*fixed:400  a mixture: queries and passages
file:LENGTHS                    drawn from a file with a number a line
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Draw = Callable[[np.random.Generator, int], NDArray[np.int32]]
LARGEST = 1 << 20


def parse(spec: str) -> Draw:
    """A function that draws `count` numbers. Raises ValueError for the text, OSError for its file."""
    if "+" in spec or "*" in spec:
        return _mixture(spec)
    name, _, rest = spec.partition(":")
    try:
        match name, rest.split(":"):
            case "file", _:
                return _from(np.array(Path(rest).read_text().split(), np.int32), spec)
            case number, [""]:
                return _fixed(int(number), spec)
            case "fixed", [number]:
                return _fixed(int(number), spec)
            case "uniform", [low, high]:
                return _uniform(int(low), int(high), spec)
            case "lognormal", [median, sigma]:
                return _lognormal(float(median), float(sigma), spec)
    except ValueError:
        pass
    raise ValueError(
        f"{spec!r} is no distribution of lengths: N, uniform:LOW:HIGH, lognormal:MEDIAN:SIGMA, "
        "file:PATH or a mixture like 0.8*uniform:8:32+0.2*fixed:400, of whole numbers >= 1"
    )


def _check(good: bool, spec: str) -> None:
    if not good:
        raise ValueError(spec)


def _fixed(number: int, spec: str) -> Draw:
    _check(1 <= number <= LARGEST, spec)
    return lambda rng, count: np.full(count, number, np.int32)


def _uniform(low: int, high: int, spec: str) -> Draw:
    _check(1 <= low <= high <= LARGEST, spec)
    return lambda rng, count: rng.integers(low, high, count, np.int32, endpoint=True)


def _lognormal(median: float, sigma: float, spec: str) -> Draw:
    _check(1 <= median <= LARGEST and 0 <= sigma <= 10, spec)

    def draw(rng: np.random.Generator, count: int) -> NDArray[np.int32]:
        numbers = np.rint(median * np.exp(sigma * rng.standard_normal(count)))
        return np.clip(numbers, 1, LARGEST).astype(np.int32)

    return draw


def _from(numbers: NDArray[np.int32], spec: str) -> Draw:
    _check(len(numbers) > 0 and bool(((numbers >= 1) & (numbers <= LARGEST)).all()), spec)
    return lambda rng, count: numbers[rng.integers(0, len(numbers), count)]


def _mixture(spec: str) -> Draw:
    weights, draws = [], []
    for part in spec.split("+"):
        weight, star, inner = part.partition("*")
        try:
            weights.append(float(weight) if star else 1.0)
        except ValueError:
            raise ValueError(f"{part!r} in {spec!r}: the weight is no number") from None
        draws.append(parse(inner if star else weight))
    shares = np.array(weights)
    if not (np.isfinite(shares).all() and (shares > 0).all()):
        raise ValueError(f"{spec!r}: weights must be above 0")
    bounds = np.cumsum(shares / shares.sum())[:-1]

    def draw(rng: np.random.Generator, count: int) -> NDArray[np.int32]:
        which = np.searchsorted(bounds, rng.random(count), side="right")
        return np.choose(which, [one(rng, count) for one in draws]).astype(np.int32)

    return draw
