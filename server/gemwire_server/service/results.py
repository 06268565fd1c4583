"""The results of a request: vectors, counts, errors of single texts, and timing."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.interface import Results, StepTiming
from gemwire_server.errors import GemwireError
from gemwire_server.text.tokenizer import Encoded

Tokenized = Encoded | GemwireError
"""The token ids of an input, or the error that it is answered with."""


@dataclass(slots=True, kw_only=True)
class TextResults(ABC):
    """The results of n texts, whatever was computed of them. `token_counts` is uint32 [n] and `truncated`
    bool [n]; `errors` has the texts that have no other result, by their places."""

    token_counts: NDArray[np.uint32]
    truncated: NDArray[np.bool_]
    errors: dict[int, GemwireError]

    @abstractmethod
    def place(self, computed: Results) -> None:
        """Puts what the engine computed, or the error, of some texts in their places."""

    def raise_first_error(self) -> None:
        """Raises the first text's error, if any text has one: for calls that succeed or fail as a whole."""
        if self.errors:
            raise self.errors[min(self.errors)]


@dataclass(slots=True, kw_only=True)
class EmbedResults(TextResults):
    """The vectors of n texts, fp32 [n, full size]: of length one, or as the head gives them for the output
    RAW. A row of `vectors` means nothing where `errors` has an entry."""

    vectors: NDArray[np.float32]

    @classmethod
    def without_vectors(cls, tokenized: Sequence[Tokenized], dimensions: int) -> "EmbedResults":
        """The results of inputs that are tokenized, with vectors of zeros."""
        counts, truncated, errors = _of_tokenized(tokenized)
        return cls(
            vectors=np.zeros((len(tokenized), dimensions), np.float32),
            token_counts=counts,
            truncated=truncated,
            errors=errors,
        )

    def place(self, computed: Results) -> None:
        if computed.error is not None:
            self.errors.update(dict.fromkeys(computed.indices, computed.error))
        else:
            self.vectors[computed.indices] = computed.vectors


@dataclass(slots=True, kw_only=True)
class TokenResults(TextResults):
    """The final hidden states of the tokens of n texts, each fp32 [T, hidden]; None where `errors` has an
    entry."""

    rows: list[NDArray[np.float32] | None]

    @classmethod
    def without_rows(cls, tokenized: Sequence[Tokenized]) -> "TokenResults":
        """The results of inputs that are tokenized, without rows."""
        counts, truncated, errors = _of_tokenized(tokenized)
        rows: list[NDArray[np.float32] | None] = [None] * len(tokenized)
        return cls(rows=rows, token_counts=counts, truncated=truncated, errors=errors)

    def place(self, computed: Results) -> None:
        if computed.error is not None:
            self.errors.update(dict.fromkeys(computed.indices, computed.error))
        else:
            (index,) = computed.indices
            self.rows[index] = computed.vectors

    def tokens_with_rows(self) -> int:
        """Tokens whose states are here."""
        return sum(len(rows) for rows in self.rows if rows is not None)


def _of_tokenized(
    tokenized: Sequence[Tokenized],
) -> tuple[NDArray[np.uint32], NDArray[np.bool_], dict[int, GemwireError]]:
    """(token counts, which were truncated, errors) of inputs that are tokenized."""
    counts = np.zeros(len(tokenized), np.uint32)
    truncated = np.zeros(len(tokenized), np.bool_)
    errors: dict[int, GemwireError] = {}
    for i, item in enumerate(tokenized):
        if isinstance(item, Encoded):
            counts[i], truncated[i] = len(item.ids), item.truncated
        else:
            errors[i] = item
    return counts, truncated, errors


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
class TokenizedText:
    """int32 ids [T] of a text. `over_limit`: they are more than the model's window, or were cut to it.

    `spans` are those of `Encoded`, None where they were not asked for or the input was ids. `seconds` is
    the time from the call's arrival until it was tokenized.
    """

    ids: NDArray[np.int32]
    over_limit: bool
    spans: NDArray[np.uint32] | None
    seconds: float


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
