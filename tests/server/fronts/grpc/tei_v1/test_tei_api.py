"""Info of tei.v1, its health and what reflection lists of it."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from gemwire_compat import tei_pb2 as pb
from gemwire_server import __version__
from support.harness import Served, running
from support.tei import Tei

SERVICES = {f"tei.v1.{name}" for name in ("Info", "Embed", "Predict", "Rerank", "Tokenize")}


def test_info(tiny_checkpoint: Path) -> None:
    with running(
        str(tiny_checkpoint),
        dtype="float32",
        max_batch_tokens=300,
        max_inputs_per_request=17,
        max_concurrent_calls=33,
        tokenizer_threads=3,
    ) as served:
        info = Tei(served.channel).Info(pb.InfoRequest())
    assert info == pb.InfoResponse(
        version=__version__,
        model_id="tiny",
        model_sha=info.model_sha,
        model_dtype="float32",
        model_type=pb.MODEL_TYPE_EMBEDDING,
        max_concurrent_requests=33,
        max_input_length=2048,
        max_batch_tokens=300,
        max_client_batch_size=17,
        tokenization_workers=3,
    )
    assert info.model_sha.startswith("sha256-")


def test_health(served: Served) -> None:
    stub: Any = health_pb2_grpc.HealthStub(served.channel)
    states = {
        service: health_pb2.HealthCheckResponse.ServingStatus.Name(
            stub.Check(health_pb2.HealthCheckRequest(service=service)).status
        )
        for service in {"", *SERVICES}
    }
    unserved = {"tei.v1.Predict", "tei.v1.Rerank"}
    assert states == {
        service: "NOT_SERVING" if service in unserved else "SERVING" for service in states
    }
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="tei.v1.Predict"))
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    with pytest.raises(grpc.RpcError) as found:
        stub.Check(health_pb2.HealthCheckRequest(service="tei.v1.None"))
    assert isinstance(found.value, grpc.Call)
    assert found.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services(served: Served) -> None:
    database = ProtoReflectionDescriptorDatabase(served.channel)
    assert set(database.get_services()) >= SERVICES
    file = database.FindFileContainingSymbol("tei.v1.Embed")
    methods = {m.name for service in file.service for m in service.method}
    assert methods == set(Tei(served.channel).methods)
