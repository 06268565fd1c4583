"""The results of a request: vectors, counts, errors of single texts, and timing."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.interface import Results, StepTiming
from gemwire_server.errors import GemwireError
from gemwire_server.text.tokenizer import Encoded

Tokenized = Encoded | GemwireError
"""The token ids of an input, or the error that it is answered with."""


@dataclass(slots=True)
class EmbedResults:
    """The results of n texts. A row of `vectors` (fp32 [n, full size], length one) means nothing where
    `errors` has an entry."""

    vectors: NDArray[np.float32]
    token_counts: NDArray[np.uint32]
    truncated: NDArray[np.bool_]
    errors: dict[int, GemwireError]

    @classmethod
    def without_vectors(cls, tokenized: Sequence[Tokenized], dimensions: int) -> "EmbedResults":
        """The results of inputs that are tokenized, with vectors of zeros."""
        count = len(tokenized)
        results = cls(
            vectors=np.zeros((count, dimensions), np.float32),
            token_counts=np.zeros(count, np.uint32),
            truncated=np.zeros(count, np.bool_),
            errors={},
        )
        for i, item in enumerate(tokenized):
            if isinstance(item, Encoded):
                results.token_counts[i] = len(item.ids)
                results.truncated[i] = item.truncated
            else:
                results.errors[i] = item
        return results

    def place(self, computed: Results) -> None:
        """Puts vectors, or the error, of some texts in their places."""
        if computed.error is not None:
            self.errors.update(dict.fromkeys(computed.indices, computed.error))
        else:
            self.vectors[computed.indices] = computed.vectors

    def raise_first_error(self) -> None:
        """Raises the first text's error, if any text has one: for calls that succeed or fail as a whole."""
        if self.errors:
            raise self.errors[min(self.errors)]


@dataclass(frozen=True, slots=True)
class SimilarityResults:
    """The cosines of n targets with one source. An entry of `scores` (fp32 [n], from -1 to 1) means nothing
    where `errors` has an entry."""

    scores: NDArray[np.float32]
    errors: dict[int, GemwireError]

    @classmethod
    def of(cls, units: NDArray[np.float32], errors: dict[int, GemwireError]) -> "SimilarityResults":
        """The results of rows of length one, fp32 [1 + n, size]: the source, then its targets.

        `errors` are by row. Raises the source's error.
        """
        if 0 in errors:
            raise errors[0]
        # Rounding takes the cosine of two texts that are alike over 1.
        scores = np.clip(units[1:] @ units[0], -1, 1)
        return cls(scores, {row - 1: error for row, error in errors.items()})


@dataclass(frozen=True, slots=True)
class Timing:
    """The time that each part of a call took, in seconds. `queue_seconds` is the longest wait of its
    texts; the batch is the last one that held a text of the call."""

    tokenize_seconds: float
    queue_seconds: float
    compute_seconds: float
    total_seconds: float
    batch_texts: int
    batch_tokens: int

    @classmethod
    def of(cls, arrived: float, tokenize_seconds: float, steps: Sequence[StepTiming]) -> "Timing":
        """The timing until now of a call that arrived then."""
        last = steps[-1] if steps else StepTiming(0.0, 0.0, 0, 0)
        return cls(
            tokenize_seconds=tokenize_seconds,
            queue_seconds=max((step.queue_seconds for step in steps), default=0.0),
            compute_seconds=last.compute_seconds,
            total_seconds=time.monotonic() - arrived,
            batch_texts=last.batch_texts,
            batch_tokens=last.batch_tokens,
        )


def token_count(tokenized: Sequence[Tokenized]) -> int:
    """Tokens of the inputs that have ids."""
    return sum(len(item.ids) for item in tokenized if isinstance(item, Encoded))
