"""Collects the answers to the texts of one call of a client, as its requests are answered."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client.errors import GemwireError, from_status, model_changed
from gemwire_client.requests import (
    ERROR_BYTES,
    Limits,
    Model,
    less_one,
    request_slices,
    result_bytes,
)
from gemwire_client.vectors import Vector, decode, empty

READ: dict[str | None, Callable[[Any], Any]] = {"embedding": decode, "score": np.float32}
"""What reads the outcome of a text that did not fail."""


class Gathered:
    """The answers to n texts, filled row by row: vectors [n, dimensions] or scores [n]."""

    def __init__(
        self, rows: Vector, model: Model, limits: Limits, answer_bytes: int, prompt: str = ""
    ) -> None:
        self._rows = rows
        self._limits = limits
        self._answer_bytes = answer_bytes
        self._window = model.max_input_tokens
        self._prompt_bytes = max(len(p.encode()) for p in (prompt, *model.prompts.values()))
        self._errors: dict[int, GemwireError] = {}
        self._revisions: set[str] = set()

    @classmethod
    def vectors(cls, count: int, options: pb.EmbedOptions, model: Model) -> "Gathered":
        """The vectors of that many texts of `embed`."""
        dimensions = options.output_dimensionality or model.default_dimensions
        none = empty(dimensions, options.encoding)
        rows = np.zeros((count, none.shape[1]), none.dtype)
        return cls(rows, model, model.limits, result_bytes(dimensions), options.prompt_text)

    @classmethod
    def scores(cls, count: int, model: Model) -> "Gathered":
        """The scores, float32, of that many targets of `similarity`."""
        limits = less_one(model.limits, model.max_input_tokens)
        return cls(np.zeros(count, np.float32), model, limits, ERROR_BYTES)

    def slices(self, inputs: Sequence[pb.EmbedInput]) -> Iterator[slice]:
        """The rows of each request. Raises InvalidInput for a text that fits in no request."""
        return request_slices(
            inputs,
            self._limits,
            self._answer_bytes,
            window=self._window,
            prompt_bytes=self._prompt_bytes,
        )

    def place(
        self, rows: slice, response: pb.BatchEmbedResponse | pb.ComputeSimilarityResponse
    ) -> None:
        """Takes the response for these rows. Raises GemwireError if it cannot belong to them."""
        self._revisions.add(response.model_revision)
        if len(self._revisions) > 1:
            raise model_changed()
        results: Sequence[pb.EmbedResult | pb.SimilarityResult] = response.results
        if len(results) != rows.stop - rows.start:
            raise GemwireError(f"{len(results)} answers to {rows.stop - rows.start} texts")
        for index, result in enumerate(results, rows.start):
            outcome = result.WhichOneof("outcome")
            if outcome in READ:
                self._rows[index] = READ[outcome](getattr(result, outcome))
            else:
                self._errors[index] = from_status(result.error, index)

    def answers(self) -> Vector:
        """All rows. If texts failed, raises the first one's error, whose `errors` holds all of them."""
        if self._errors:
            first = self._errors[min(self._errors)]
            first.errors = dict(sorted(self._errors.items()))
            raise first
        return self._rows
