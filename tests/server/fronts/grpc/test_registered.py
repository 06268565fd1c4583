"""Health names, reflection and metrics follow from the APIs that the front serves."""

from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gemwire_server.fronts.grpc import health, reflection
from support.harness import running
from support.scrape import scrape

OF_CALLS = (
    "gemwire_calls_started_total",
    "gemwire_calls_ended_total",
    "gemwire_calls_in_flight",
    "gemwire_call_duration_seconds_count",
    "gemwire_texts_total",
    "gemwire_tokens_total",
)
# What every gRPC server has beside its APIs. Probes and tools call these: they are not counted.
BESIDE_APIS = ("grpc.health.", "grpc.reflection.")
# A model that gives vectors has nothing for these.
UNSERVED = ("tei.v1.Predict", "tei.v1.Rerank")


def _served_methods(channel: grpc.Channel) -> set[tuple[str, str, str]]:
    """(API, service, method) of every method that the server lists."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)

    def ask(**request: Any) -> reflection_pb2.ServerReflectionResponse:
        (response,) = stub.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(**request)])
        )
        assert isinstance(response, reflection_pb2.ServerReflectionResponse)
        return response

    found = set()
    for service in ask(list_services="").list_services_response.service:
        if service.name.startswith(BESIDE_APIS):
            continue
        raw = ask(file_containing_symbol=service.name).file_descriptor_response
        file = FileDescriptorProto.FromString(raw.file_descriptor_proto[0])
        found |= {
            (file.package, f"{file.package}.{each.name}", method.name)
            for each in file.service
            for method in each.method
        }
    return found


def test_every_served_method_has_its_series(tiny_checkpoint: Path) -> None:
    """The series exist before the first call: a counter that appears with its first increment loses it."""
    with running(str(tiny_checkpoint), metrics_address="127.0.0.1:0") as served:
        methods = _served_methods(served.channel)
        page = scrape(served.metrics_address)
    assert len(methods) >= 7 and ("gemwire.v1", "gemwire.v1.EmbeddingService", "Embed") in methods
    for name in OF_CALLS:
        series = {
            (labels["api"], labels["method"])
            for sample, labels, _ in page.samples
            if sample == name
        }
        assert series == {(api, method) for api, _, method in methods}, name


def test_every_metric_of_calls_has_both_labels(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), metrics_address="127.0.0.1:0") as served:
        page = scrape(served.metrics_address)
    of_calls = [
        (name, labels)
        for name, labels, _ in page.samples
        if name.startswith(("gemwire_call", "gemwire_texts", "gemwire_tokens"))
    ]
    assert of_calls and all({"api", "method"} <= labels.keys() for _, labels in of_calls)


def test_every_served_service_has_its_health(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint)) as served:
        stub: Any = health_pb2_grpc.HealthStub(served.channel)
        for service in {service for _, service, _ in _served_methods(served.channel)}:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
            state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
            assert state == ("NOT_SERVING" if service in UNSERVED else "SERVING"), service


def test_neither_names_an_api() -> None:
    for module in (health, reflection):
        assert "gemwire.v1" not in Path(str(module.__file__)).read_text("utf-8")
