"""gRPC server reflection, v1 and v1alpha, of what this server serves and of nothing else.

grpcio-reflection looks symbols up in protobuf's pool, which in Python finds no method (grpc/grpc#34743),
and has v1alpha only. The two versions have the same messages under another package name.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2 as messages

from gemwire_server.fronts.grpc.api import APIS

V1ALPHA, V1 = "grpc.reflection.v1alpha", "grpc.reflection.v1"
METHOD = "ServerReflectionInfo"
# Details of errors travel as google.protobuf.Any: tools ask reflection for their types.
FILES: tuple[Any, ...] = (
    *(api.file for api in APIS),
    health_pb2.DESCRIPTOR,
    error_details_pb2.DESCRIPTOR,
    messages.DESCRIPTOR,
)
# grpcio's packages keep these files under other names than gRPC itself; nothing imports them.
NAMES = {
    health_pb2.DESCRIPTOR.name: "grpc/health/v1/health.proto",
    messages.DESCRIPTOR.name: "grpc/reflection/v1alpha/reflection.proto",
}


class Schema:
    """Files of protobuf with all that they import, and what is declared in them."""

    def __init__(self, files: Sequence[FileDescriptorProto]) -> None:
        """`files` hold every file that one of them imports."""
        self._files = {file.name: file for file in files}
        self._symbols: dict[str, str] = {}  # full name → name of the file
        self._messages: set[str] = set()
        self._extensions: dict[str, dict[int, str]] = {}  # message → number → name of the file
        self.services: list[str] = []
        for file in files:
            self._add(file)

    def _add(self, file: FileDescriptorProto) -> None:
        prefix = f"{file.package}." if file.package else ""
        for service in file.service:
            full_name = prefix + service.name
            self.services.append(full_name)
            self._symbols[full_name] = file.name
            for method in service.method:
                self._symbols[f"{full_name}.{method.name}"] = file.name
        for symbol in _declared(prefix, file):
            self._symbols[symbol] = file.name
        self._messages.update(name for name, _ in _messages(prefix, file.message_type))
        scopes: list[FileDescriptorProto | DescriptorProto] = [file]
        scopes += [message for _, message in _messages(prefix, file.message_type)]
        for scope in scopes:
            for field in scope.extension:
                of = self._extensions.setdefault(field.extendee.removeprefix("."), {})
                of[field.number] = file.name

    def file(self, name: str) -> list[bytes] | None:
        """The file and all that it imports, itself first, or None if there is no such file."""
        if name not in self._files:
            return None
        names = [name]
        for found in names:  # grows meanwhile
            names += [other for other in self._files[found].dependency if other not in names]
        return [self._files[found].SerializeToString() for found in names]

    def declaring(self, symbol: str) -> list[bytes] | None:
        """The same for the file that declares a service, method, message, field, oneof, enum or value."""
        return self.file(self._symbols.get(symbol, ""))

    def extending(self, message: str, number: int) -> list[bytes] | None:
        """The same for the file that declares this extension of a message."""
        return self.file(self._extensions.get(message, {}).get(number, ""))

    def extension_numbers(self, message: str) -> list[int] | None:
        """Numbers of all extensions of a message, None if there is no such message."""
        return sorted(self._extensions.get(message, ())) if message in self._messages else None


def _messages(
    prefix: str, messages: Sequence[DescriptorProto]
) -> Iterator[tuple[str, DescriptorProto]]:
    """Messages, and those within them, with their full names."""
    for message in messages:
        full_name = prefix + message.name
        yield full_name, message
        yield from _messages(f"{full_name}.", message.nested_type)


def _declared(prefix: str, file: FileDescriptorProto) -> Iterator[str]:
    """Full names of all that a file declares beside its services."""
    yield from _values(prefix, file.enum_type)
    yield from (prefix + field.name for field in file.extension)
    for name, message in _messages(prefix, file.message_type):
        yield name
        yield from _values(f"{name}.", message.enum_type)
        for field in (*message.field, *message.extension):
            yield f"{name}.{field.name}"
        for oneof in message.oneof_decl:
            yield f"{name}.{oneof.name}"


def _values(prefix: str, enums: Sequence[EnumDescriptorProto]) -> Iterator[str]:
    """Enums and their values, which are named beside their enum, not within it."""
    for enum in enums:
        yield prefix + enum.name
        yield from (prefix + value.name for value in enum.value)


def served_schema() -> Schema:
    """All files of this server's services."""
    files: dict[str, FileDescriptorProto] = {}

    def add(file: FileDescriptor) -> None:
        if file.name not in files:
            proto = FileDescriptorProto()
            file.CopyToProto(proto)
            proto.name = NAMES.get(file.name, file.name)
            files[file.name] = proto
            for other in file.dependencies:
                add(other)

    for file in FILES:
        add(file)
    alpha = files[messages.DESCRIPTOR.name]
    return Schema([*files.values(), _as_v1(alpha)])


def _as_v1(alpha: FileDescriptorProto) -> FileDescriptorProto:
    """The file of grpc.reflection.v1, whose messages differ from v1alpha's by the package alone."""
    file = FileDescriptorProto()
    file.CopyFrom(alpha)
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = V1
    for _, message in _messages("", file.message_type):
        for field in filter(lambda field: field.type_name, message.field):
            field.type_name = field.type_name.replace(V1ALPHA, V1)
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(V1ALPHA, V1)
            method.output_type = method.output_type.replace(V1ALPHA, V1)
    return file


def add_reflection(server: grpc.aio.Server) -> None:
    """Offers reflection, in both versions, of everything that the main address serves."""
    schema = served_schema()

    async def behaviour(
        requests: AsyncIterable[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        async for raw in requests:
            try:
                request = messages.ServerReflectionRequest.FromString(raw)
            except (DecodeError, ValueError):  # grpcio would send the parser's own text
                await context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    "the request's bytes are not a ServerReflectionRequest",
                )
            yield answer(schema, request).SerializeToString()

    handler: Any = grpc.stream_stream_rpc_method_handler(behaviour)
    for package in (V1, V1ALPHA):
        service = grpc.method_handlers_generic_handler(
            f"{package}.ServerReflection", {METHOD: handler}
        )
        server.add_generic_rpc_handlers((service,))


def answer(
    schema: Schema, request: messages.ServerReflectionRequest
) -> messages.ServerReflectionResponse:
    """What is not there is an error in the answer: the stream goes on."""
    response = messages.ServerReflectionResponse(valid_host=request.host, original_request=request)
    files: list[bytes] | None = None
    match request.WhichOneof("message_request"):
        case "list_services":
            names = (messages.ServiceResponse(name=name) for name in sorted(schema.services))
            response.list_services_response.service.extend(names)
            return response
        case "all_extension_numbers_of_type":
            name = request.all_extension_numbers_of_type
            if (numbers := schema.extension_numbers(name)) is not None:
                response.all_extension_numbers_response.base_type_name = name
                response.all_extension_numbers_response.extension_number.extend(numbers)
                return response
        case "file_by_filename":
            files = schema.file(request.file_by_filename)
        case "file_containing_symbol":
            files = schema.declaring(request.file_containing_symbol)
        case "file_containing_extension":
            extension = request.file_containing_extension
            files = schema.extending(extension.containing_type, extension.extension_number)
        case _:
            response.error_response.error_code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
            response.error_response.error_message = "the request asks for nothing"
            return response
    if files is None:
        response.error_response.error_code = grpc.StatusCode.NOT_FOUND.value[0]
        response.error_response.error_message = "the services of this server have no such thing"
    else:
        response.file_descriptor_response.file_descriptor_proto.extend(files)
    return response
