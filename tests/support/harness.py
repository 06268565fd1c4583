"""A real server and real stubs."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub, ModelServiceStub
from gemwire_server.config.options import ServerConfig
from gemwire_server.processes.single import background_application

SERVICES = [
    "gemwire.v1.EmbeddingService",
    "gemwire.v1.ModelService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
    "tei.v1.Embed",
    "tei.v1.Info",
    "tei.v1.Predict",
    "tei.v1.Rerank",
    "tei.v1.Tokenize",
    "vllm.grpc.engine.VllmEngine",
]
"""What reflection lists."""


@dataclass
class Served:
    """A running server, and the stubs to call it."""

    address: str
    channel: grpc.Channel
    embedding: EmbeddingServiceStub
    model: ModelServiceStub
    metrics_address: str
    http_address: str


@contextmanager
def running(model: str, **options: Any) -> Iterator[Served]:
    with (
        background_application(ServerConfig(model=model, address="127.0.0.1:0", **options)) as app,
        grpc.insecure_channel(app.address, [("grpc.use_local_subchannel_pool", 1)]) as channel,
    ):
        yield Served(
            app.address,
            channel,
            EmbeddingServiceStub(channel),
            ModelServiceStub(channel),
            app.metrics_address,
            app.http_address,
        )


@dataclass
class Failure:
    """A status and its details, taken apart."""

    code: grpc.StatusCode
    message: str
    reason: str
    field: str
    retry_after: float | None
    subject: str  # of a quota


def failure(error: grpc.RpcError | Status) -> Failure:
    if isinstance(error, Status):
        code = next(c for c in grpc.StatusCode if c.value[0] == error.code)
        return _taken_apart(code, error)
    assert isinstance(error, grpc.Call)
    trailers = {key: value for key, value in error.trailing_metadata() or ()}
    status = Status.FromString(trailers["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    return _taken_apart(error.code(), status)


def first_refused(calls: Sequence[Any], seconds: float = 30.0) -> Failure:
    """The error of the first call that ends, of some that are all under way."""
    deadline = time.monotonic() + seconds
    while not (ended := [each for each in calls if each.done()]):
        assert time.monotonic() < deadline, "no call was refused"
        time.sleep(0.01)
    return failure(ended[0].exception())


def _taken_apart(code: grpc.StatusCode, status: Status) -> Failure:
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    quota = error_details_pb2.QuotaFailure()
    found = {"retry": False}
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad) or detail.Unpack(quota)
        found["retry"] |= detail.Unpack(retry)
    assert info.domain == "gemwire.dev"
    return Failure(
        code=code,
        message=status.message,
        reason=info.reason,
        field=bad.field_violations[0].field if bad.field_violations else "",
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if found["retry"] else None,
        subject=quota.violations[0].subject if quota.violations else "",
    )


def text(value: str, title: str = "") -> pb.EmbedInput:
    return pb.EmbedInput(text=value, title=title)


def values(embedding: pb.Embedding) -> NDArray[np.float32]:
    return np.array(embedding.values, dtype=np.float32)


def batch(
    served: Served, inputs: list[pb.EmbedInput], options: pb.EmbedOptions
) -> NDArray[np.float32]:
    """The vectors of the inputs, fp32 [n, dimensions]."""
    response = served.embedding.BatchEmbed(pb.BatchEmbedRequest(inputs=inputs, options=options))
    return np.stack([values(result.embedding) for result in response.results])
