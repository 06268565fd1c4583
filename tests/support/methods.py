"""Calls a method of a contract that is known by its descriptor alone, as clients in other languages do."""

from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

WAIT = 30.0


def method_over(channel: grpc.Channel, method: MethodDescriptor) -> Any:
    """The method as a stub has it."""
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): channel.unary_unary,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    return _stub(kinds[method.client_streaming, method.server_streaming], method)


def _stub(make: Any, method: MethodDescriptor) -> Any:
    return make(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )


def call(
    channel: grpc.Channel, method: MethodDescriptor, request: Message | None = None, **options: Any
) -> Any:
    """The only response of a method; its request is empty unless given."""
    if request is None:
        request = GetMessageClass(method.input_type)()
    return _stub(channel.unary_unary, method)(request, timeout=WAIT, **options)
