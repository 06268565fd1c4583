"""Unary and batch calls: one RPC each, started when it is due, whether earlier calls have ended or not."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc

from gemwire.v1 import embedding_pb2 as pb
from gemwire_bench.samples import WRONG, Samples, server_times
from gemwire_client.errors import CODES

if TYPE_CHECKING:
    from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceAsyncStub

Clock = Callable[[], int]
"""Nanoseconds since the run's start."""


def is_vector(embedding: pb.Embedding, dimensions: int) -> bool:
    """Whether an embedding looks like a unit vector of that size: cheap enough for every response."""
    values = embedding.values
    if len(values) != dimensions:
        return False
    # A few values of a unit vector: they show nonsense and NaN; golden texts are compared in full.
    return all(-1.0001 <= value <= 1.0001 for value in values[:8])


class Calls:
    """Sends calls on one connection and records a sample of each."""

    def __init__(
        self,
        stub: "EmbeddingServiceAsyncStub",
        metadata: tuple[tuple[str, str], ...],
        samples: Samples,
        clock: Clock,
        dimensions: int,
    ) -> None:
        self._stub = stub
        self._metadata = metadata
        self._samples = samples
        self._clock = clock
        self._dimensions = dimensions

    async def make(self, message: Any, *, kind: int, due: int, deadline: int) -> None:
        """Makes one call, which is due at `due` and must be answered `deadline` later (nanoseconds)."""
        begun = self._clock()
        batch = isinstance(message, pb.BatchEmbedRequest)
        method = self._stub.BatchEmbed if batch else self._stub.Embed
        texts = len(message.inputs) if batch else 1
        timeout = max((due + deadline - begun) / 1e9, 0.001)
        code, timing, good, tokens = "OK", None, 0, 0
        try:
            answer: Any = await method(message, timeout=timeout, metadata=self._metadata)
            ended = self._clock()
        except grpc.aio.AioRpcError as error:
            ended = self._clock()
            code = error.code().name
        except asyncio.CancelledError:
            ended = self._clock()
            code = "CANCELLED"
        else:
            timing = answer.timing if answer.HasField("timing") else None
            results = answer.results if batch else (answer,)
            for result in results:
                if batch and result.WhichOneof("outcome") == "error":
                    code = CODES.get(result.error.code, grpc.StatusCode.UNKNOWN).name
                elif is_vector(result.embedding, self._dimensions):
                    good += 1
                    tokens += result.embedding.token_count
                else:
                    code = WRONG
            if len(results) != texts:
                code = WRONG
        self._samples.add(
            kind=kind, code=code, due=due, begun=begun, sent=begun, ended=ended,
            texts=texts, good=good, tokens=tokens, **server_times(timing),
        )  # fmt: skip
