"""Collects the vectors of one `embed` as its requests are answered."""

from collections.abc import Iterator, Sequence

import numpy as np

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client.errors import GemwireError, from_status, model_changed
from gemwire_client.requests import Model, request_slices, result_bytes
from gemwire_client.vectors import Vector, decode, empty


class Gathered:
    """The vectors [n, dimensions], filled row by row."""

    def __init__(self, count: int, options: pb.EmbedOptions, model: Model) -> None:
        self._dimensions = options.output_dimensionality or model.default_dimensions
        self._limits = model.limits
        none = empty(self._dimensions, options.encoding)
        self._vectors: Vector = np.zeros((count, none.shape[1]), none.dtype)
        self._errors: dict[int, GemwireError] = {}
        self._revisions: set[str] = set()

    def slices(self, inputs: Sequence[pb.EmbedInput]) -> Iterator[slice]:
        """The rows of each request. Raises InvalidInput for a text that fits in no request."""
        return request_slices(inputs, self._limits, result_bytes(self._dimensions))

    def place(self, rows: slice, response: pb.BatchEmbedResponse) -> None:
        """Takes the response for these rows. Raises GemwireError if it cannot belong to them."""
        self._revisions.add(response.model_revision)
        if len(self._revisions) > 1:
            raise model_changed()
        if len(response.results) != rows.stop - rows.start:
            raise GemwireError(f"{len(response.results)} answers to {rows.stop - rows.start} texts")
        for index, result in enumerate(response.results, rows.start):
            if result.WhichOneof("outcome") == "embedding":
                self._vectors[index] = decode(result.embedding)
            else:
                self._errors[index] = from_status(result.error, index)

    def vectors(self) -> Vector:
        """All vectors. If texts failed, raises the first one's error, whose `errors` holds all of them."""
        if self._errors:
            first = self._errors[min(self._errors)]
            first.errors = dict(sorted(self._errors.items()))
            raise first
        return self._vectors
