"""Reflection over a real socket: by grpcio-reflection's own stub, by protobuf's pool, and by buf."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2 as messages
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.fronts.grpc.reflection import Schema
from support.harness import SERVICES, Served, running

BUF = Path(sys.executable).parent / "buf"
VERSIONS = ["v1", "v1alpha"]
NOT_FOUND = grpc.StatusCode.NOT_FOUND.value[0]
Response = messages.ServerReflectionResponse


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint)) as server:
        yield server


def ask(channel: grpc.Channel, version: str, *requests: dict[str, Any]) -> list[Response]:
    made = iter([messages.ServerReflectionRequest(host="h", **request) for request in requests])
    if version == "v1alpha":
        stub: Any = ServerReflectionStub(channel)
        return list(stub.ServerReflectionInfo(made))
    # The messages of v1 are those of v1alpha under another name: see the test of its descriptor.
    method: Any = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=messages.ServerReflectionRequest.SerializeToString,
        response_deserializer=Response.FromString,
    )
    return list(method(made))


def files(response: Response) -> list[FileDescriptorProto]:
    assert not response.HasField("error_response"), response
    raw = response.file_descriptor_response.file_descriptor_proto
    return [FileDescriptorProto.FromString(file) for file in raw]


def symbols_of_message(message: Descriptor) -> Iterator[str]:
    yield message.full_name
    yield from (field.full_name for field in message.fields)
    yield from (oneof.full_name for oneof in message.oneofs)
    for inner in message.nested_types:
        yield from symbols_of_message(inner)
    for enum in message.enum_types:
        yield from symbols_of_enum(enum)


def symbols_of_enum(enum: EnumDescriptor) -> Iterator[str]:
    yield enum.full_name
    scope = enum.full_name.rpartition(".")[0]
    yield from (f"{scope}.{value.name}" for value in enum.values)


def symbols() -> list[str]:
    """Every name that gemwire's .proto declares, from protobuf's own descriptors."""
    file = pb.DESCRIPTOR
    found = []
    for service in file.services_by_name.values():
        found += [service.full_name, *(method.full_name for method in service.methods)]
    for message in file.message_types_by_name.values():
        found += symbols_of_message(message)
    for enum in file.enum_types_by_name.values():
        found += symbols_of_enum(enum)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_symbol_is_found(served: Served, version: str) -> None:
    names = symbols()
    assert {
        "gemwire.v1.EmbeddingService.Embed",
        "gemwire.v1.EmbedOptions.prompt",
        "gemwire.v1.EmbedInput.title",
        "gemwire.v1.TASK_TYPE_CLUSTERING",
        "gemwire.v1.Model.PromptsEntry.key",
    } <= set(names)
    names += ["grpc.health.v1.Health.Watch", "grpc.health.v1.HealthCheckResponse.SERVING"]
    asked = [{"file_containing_symbol": name} for name in names]
    for name, response in zip(names, ask(served.channel, version, *asked), strict=True):
        own = "gemwire/v1" if name.startswith("gemwire") else "grpc/health/v1"
        assert files(response)[0].name.startswith(own), name
        assert response.valid_host == "h"
        assert response.original_request.file_containing_symbol == name


@pytest.mark.parametrize("version", VERSIONS)
def test_the_answers_make_the_api(served: Served, version: str) -> None:
    """A pool of nothing but what was answered can build every message of every service."""
    (listed,) = ask(served.channel, version, {"list_services": ""})
    names = [service.name for service in listed.list_services_response.service]
    assert names == SERVICES
    found: dict[str, FileDescriptorProto] = {}
    for response in ask(served.channel, version, *({"file_containing_symbol": n} for n in names)):
        found |= {file.name: file for file in files(response)}
    pool = descriptor_pool.DescriptorPool()

    def add(name: str) -> None:
        if (file := found.pop(name, None)) is not None:
            for imported in file.dependency:
                add(imported)
            pool.Add(file)

    for name in list(found):
        add(name)
    for name in names:
        service = pool.FindServiceByName(name)
        for method in service.methods:
            assert GetMessageClass(method.input_type)().SerializeToString() == b""
    made = FileDescriptorProto()
    original = FileDescriptorProto()
    pool.FindFileByName(pb.DESCRIPTOR.name).CopyToProto(made)
    pb.DESCRIPTOR.CopyToProto(original)
    assert made == original


@pytest.mark.parametrize("version", VERSIONS)
def test_files_and_what_error_details_need(served: Served, version: str) -> None:
    by_name, details = ask(
        served.channel,
        version,
        {"file_by_filename": "gemwire/v1/embedding.proto"},
        {"file_containing_symbol": "google.rpc.ErrorInfo"},
    )
    found = {file.name for file in files(by_name)}
    assert found == {
        "gemwire/v1/embedding.proto", "google/protobuf/any.proto", "google/protobuf/duration.proto",
        "google/rpc/status.proto",
    }  # fmt: skip
    assert files(details)[0].name == "google/rpc/error_details.proto"


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_not_there_is_an_error_and_the_stream_goes_on(served: Served, version: str) -> None:
    missing: list[dict[str, Any]] = [
        {"file_containing_symbol": "gemwire.v1.EmbeddingService.Nothing"},
        {"file_containing_symbol": ""},
        {"file_containing_symbol": "gemwire.v1"},  # a package is no symbol
        # Another file of this process, which no service needs.
        {"file_containing_symbol": "google.protobuf.FileDescriptorProto"},
        {"file_by_filename": "no.proto"},
        {"all_extension_numbers_of_type": "gemwire.v1.Nothing"},
        {
            "file_containing_extension": messages.ExtensionRequest(
                containing_type="gemwire.v1.Model", extension_number=100
            )
        },
    ]
    *refused, unasked, numbers = ask(
        served.channel,
        version,
        *missing,
        {},
        {"all_extension_numbers_of_type": "gemwire.v1.Model"},
    )
    assert [r.error_response.error_code for r in refused] == [NOT_FOUND] * len(missing)
    assert unasked.error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    found = numbers.all_extension_numbers_response
    assert (found.base_type_name, list(found.extension_number)) == ("gemwire.v1.Model", [])


def test_extensions_are_found() -> None:
    """The API has no extension, so this test brings a file that has one."""
    base = FileDescriptorProto(name="base.proto", package="p", syntax="proto2")
    base.message_type.add(name="Base").extension_range.add(start=100, end=200)
    user = FileDescriptorProto(name="user.proto", package="q", syntax="proto2")
    user.dependency.append("base.proto")
    kind = FieldDescriptor.TYPE_INT32
    user.extension.add(name="top", number=101, extendee=".p.Base", type=kind, label=1)
    user.message_type.add(name="Scope").extension.add(
        name="inner", number=102, extendee=".p.Base", type=kind, label=1
    )
    schema = Schema([user, base])
    assert schema.extension_numbers("p.Base") == [101, 102]
    expected = [user.SerializeToString(), base.SerializeToString()]
    for found in (
        schema.extending("p.Base", 101),
        schema.extending("p.Base", 102),
        schema.declaring("q.top"),
        schema.declaring("q.Scope.inner"),
    ):
        assert found == expected
    assert schema.extending("p.Base", 103) is None


def test_bytes_that_are_no_message(served: Served) -> None:
    method: Any = served.channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    )
    with pytest.raises(grpc.RpcError) as caught:
        list(method(iter([b"\xff"])))
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "ServerReflectionRequest" in (caught.value.details() or "")


@pytest.mark.parametrize("version", VERSIONS)
def test_buf_calls_by_reflection(served: Served, version: str) -> None:
    if not BUF.exists():
        pytest.skip("buf is not installed")
    done = subprocess.run(
        [
            str(BUF), "curl", "--http2-prior-knowledge", "--protocol", "grpc",
            "--reflect-protocol", f"grpc-{version}", "--data", '{"input": {"text": "Mars"}}',
            f"http://{served.address}/gemwire.v1.EmbeddingService/Embed",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["embedding"]["encoding"] == "VECTOR_ENCODING_FLOAT32"
