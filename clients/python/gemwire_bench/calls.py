"""Unary and batch calls: one RPC each, started when it is due, however those before are doing."""

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
    """Whether it has a vector's shape and its length of about one: cheap enough for every answer."""
    values = embedding.values
    if len(values) != dimensions:
        return False
    # A corner of a unit vector: nonsense and NaN show; the golden texts are compared in full.
    return all(-1.0001 <= value <= 1.0001 for value in values[:8])


class Calls:
    """Sends calls on one connection and notes what became of them."""

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
        """One call, due at `due` and to be answered `deadline` later."""
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
                if batch and result.WhichOneof("result") == "error":
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
