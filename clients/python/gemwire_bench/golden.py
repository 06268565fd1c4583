"""Checks the vectors while the server is under load: a fast but wrong server must not look good.

Golden texts are sent one at a time beside the load. Their vectors are compared by cosine with those of a
file, or else with those of the same server before the load.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire_bench.target import Asked
from gemwire_client.errors import GemwireError
from gemwire_client.vectors import decode

SCHEMA = "gemwire-golden/1"
# The other texts of a batch may change the last bits of a vector; bfloat16 against fp32 is within, too.
MOST_DISTANCE = 3e-3
PAUSE_SECONDS = 0.5
TEXTS = (
    "Which planet is known as the Red Planet?",
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "def mean(values): return sum(values) / len(values)",
    "Der Himmel ist blau.",
    "a",
)


@dataclass(frozen=True, slots=True)
class Golden:
    """Texts and their vectors, fp32 [n, dimensions] of length one, and where the vectors come from."""

    texts: tuple[str, ...]
    vectors: NDArray[np.float32]
    origin: str

    @classmethod
    def read(cls, path: Path) -> "Golden":
        """Reads a golden sample. Raises OSError, or ValueError for a file of another kind."""
        try:
            found = json.loads(path.read_text("utf-8"))
            vectors = np.array(found["vectors"], np.float32)
            if (
                found["schema"] != SCHEMA
                or vectors.ndim != 2
                or not all(isinstance(text, str) for text in found["texts"])
                or not len(vectors) == len(found["texts"]) > 0
                or not np.isfinite(vectors).all()
                or not vectors.any(axis=1).all()
            ):
                raise ValueError
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            return cls(tuple(found["texts"]), vectors, str(path))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f"{path}: is no golden sample of {SCHEMA}") from None

    @classmethod
    def ask(cls, asked: Asked, texts: Sequence[str] = TEXTS) -> "Golden":
        """Asks the server for the vectors of `texts`. Raises GemwireError."""
        vectors = np.stack([_vector(asked, text) for text in texts])
        return cls(tuple(texts), vectors, "the same server before the load")

    def to_json(self) -> str:
        found = {
            "schema": SCHEMA,
            "texts": list(self.texts),
            "vectors": [[round(float(value), 8) for value in row] for row in self.vectors],
        }
        return json.dumps(found, ensure_ascii=False) + "\n"


@dataclass(slots=True)
class Compared:
    """`worst` is the largest 1 - cos of `checked` texts; `refused` texts got no vector under the load."""

    origin: str
    checked: int = 0
    refused: int = 0
    worst: float = 0.0

    def accusations(self) -> list[str]:
        if not self.checked:
            return ["no golden text was answered, so no vector was checked"]
        return self.wrong()

    def wrong(self) -> list[str]:
        if self.worst <= MOST_DISTANCE:
            return []
        return [
            f"the vectors are wrong: 1 - cos of a golden text is {self.worst:.1e}, over "
            f"{MOST_DISTANCE:.0e}, against {self.origin}"
        ]


@contextmanager
def comparing(golden: Golden, asked: Asked) -> Iterator[Compared]:
    """Sends golden texts from a thread until the block ends; the yielded figures are final then."""
    found = Compared(golden.origin)
    stop = threading.Event()

    def compare() -> None:
        turn = 0
        # At least one, however short the load.
        while not (turn and stop.is_set()):
            number = turn % len(golden.texts)
            turn += 1
            try:
                vector = _vector(asked, golden.texts[number])
            except GemwireError:
                found.refused += 1
            else:
                found.checked += 1
                found.worst = max(found.worst, _distance(vector, golden.vectors[number]))
            stop.wait(PAUSE_SECONDS)

    thread = threading.Thread(target=compare, name="gemwire-bench-golden")
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def _distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """1 - cos; 2 for vectors that cannot be compared."""
    if one.shape != other.shape or not np.isfinite(one).all():
        return 2.0
    return float(1 - one @ other / np.linalg.norm(one))


def _vector(asked: Asked, text: str) -> NDArray[np.float32]:
    request = pb.EmbedRequest(input=pb.EmbedInput(text=text))
    return np.asarray(decode(asked.embed(request).embedding), np.float32)
