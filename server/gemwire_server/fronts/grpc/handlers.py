"""Methods as grpc.aio sees them: bytes in, bytes out.

Parsing happens here and not in grpcio, which answers bytes that are no message with UNKNOWN and the
parser's own text. An API serializes vectors itself, as one block.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from gemwire_server.errors import GemwireError, InvalidInput, Unauthenticated, response_too_large
from gemwire_server.fronts.grpc.message_limits import FLAT, Layout, has_too_many_fields
from gemwire_server.fronts.grpc.status import REQUEST_ID, Wording, abort
from gemwire_server.security.tokens import Grant, Tokens
from gemwire_server.service.call import ApiMethod, Call, Caller, deadline_of, request_id_of
from gemwire_server.service.service import Service, internal_error

M = TypeVar("M", bound=Message)
Context = grpc.aio.ServicerContext[bytes, bytes]
Method = Callable[[Any, Call], Awaitable[Message | bytes | None]]
"""A unary method gets its parsed request and returns a message or its bytes. A streaming method gets the
context in place of a request, to read from and write to."""
# Set where a call is let in, read where it is handled: grpc.aio does both in the call's own task.
_grant: ContextVar[Grant | None] = ContextVar("grant", default=None)


@dataclass(frozen=True, slots=True)
class NestedInputs:
    """A unary method whose request has its inputs deeper than in its own fields, as the layout says."""

    handle: Method
    layout: Layout

    def __call__(self, request: Any, call: Call) -> Awaitable[Message | bytes | None]:
        return self.handle(request, call)


def parse(kind: type[M], raw: bytes, max_inputs: int, layout: Layout = FLAT) -> M:
    """The message in the bytes; InvalidInput if they are none or hold far more inputs than `max_inputs`."""
    if has_too_many_fields(raw, max_inputs, layout):
        raise InvalidInput(
            "TOO_MANY_INPUTS",
            f"the request has far more inputs than the limit of {max_inputs}",
            limit=max_inputs,
        )
    try:
        return kind.FromString(raw)
    except (DecodeError, ValueError):  # the parser's own text may quote the bytes
        raise InvalidInput(
            "MALFORMED_MESSAGE", f"the request's bytes are not a {kind.DESCRIPTOR.full_name}"
        ) from None


class Handlers:
    """Makes gRPC's handlers of the methods of an API."""

    def __init__(self, service: Service, tokens: Tokens | None, *, max_response_bytes: int) -> None:
        """With `tokens`, each call needs one. `max_response_bytes` limits the answer of a unary call."""
        self._service = service
        self._tokens = tokens
        self._max_response_bytes = max_response_bytes

    def of(
        self, service: ServiceDescriptor, methods: Mapping[str, Method], wording: Wording
    ) -> grpc.GenericRpcHandler:
        """The handlers of a service; `methods` has every method of it, by name. Errors reach callers in
        the `wording` of the API."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for method in service.methods:
            if method.client_streaming:
                behaviour = self._shielded(methods[method.name], api_method(method), None, wording)
                handlers[method.name] = grpc.stream_stream_rpc_method_handler(behaviour)
            else:
                request = GetMessageClass(method.input_type)
                behaviour = self._shielded(
                    methods[method.name], api_method(method), request, wording
                )
                # As a unary handler, grpc.aio never answers a call that ends without a request.
                handlers[method.name] = grpc.stream_unary_rpc_method_handler(behaviour)
        open_to_all = grpc.method_handlers_generic_handler(service.full_name, handlers)
        if self._tokens is None:
            return open_to_all
        by_path = {
            f"/{service.full_name}/{each.name}": api_method(each) for each in service.methods
        }
        refusal = partial(self._refusal, wording=wording)
        return _TokenGate(open_to_all, self._tokens, by_path, refusal)

    def _refusal(self, method: ApiMethod, error: Unauthenticated, *, wording: Wording) -> Any:
        """The handler that refuses a call. It is a stream's for any method, which ends the call unread."""

        async def refuse(_: Any, __: Call) -> None:
            raise error

        return grpc.stream_stream_rpc_method_handler(self._shielded(refuse, method, None, wording))

    def _shielded(
        self,
        handle: Method,
        method: ApiMethod,
        request_type: type[Message] | None,
        wording: Wording,
    ) -> Any:
        """Parses, calls, serializes. An error becomes its status, and a bug INTERNAL and nothing else."""
        service = self._service
        layout = handle.layout if isinstance(handle, NestedInputs) else FLAT

        async def behaviour(_: Any, context: Context) -> bytes | None:
            request: Any = None if request_type is None else await context.read()
            call = _call(context, method)
            context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
            if request is grpc.aio.EOF:
                # Not counted as a call: it may have been cancelled before its request came.
                missing = InvalidInput("MALFORMED_MESSAGE", "the call ended without a request")
                await abort(context, missing, call.request_id, wording)
            metadata = context.invocation_metadata() or ()
            try:
                async with service.call(call, metadata, limited=request_type is not None):
                    # No variable holds the parsed request or its answer, see below.
                    if request_type is None:
                        return self._serialized(await handle(context, call))
                    answer = self._serialized(
                        await handle(parse(request_type, request, service.max_inputs, layout), call)
                    )
                    if call.headers:
                        await context.send_initial_metadata(tuple(call.headers.items()))
                    return answer
            except GemwireError as error:
                failed = error.forgetting()
            except Exception as error:
                # The service itself has failed, for example to count the call. gRPC would send the text.
                failed = internal_error(error, call)
            # gRPC keeps the exception that aborts, which keeps these frames, which keep the context: a
            # circle, and Python looks for circles by their number, not by the megabytes in them.
            del request
            await abort(context, failed, call.request_id, wording)

        return behaviour

    def _serialized(self, answer: Message | bytes | None) -> bytes | None:
        """Raises InvalidInput for an answer that is larger than a client may receive."""
        if isinstance(answer, Message):
            answer = answer.SerializeToString()
        if answer is not None and len(answer) > self._max_response_bytes:
            raise response_too_large(
                f"the answer has {len(answer)} bytes",
                self._max_response_bytes,
                "send a shorter text, or do without its pieces and spans",
            )
        return answer


def api_method(method: MethodDescriptor) -> ApiMethod:
    """The method with the name of its API, which is the package of its .proto."""
    return ApiMethod(method.containing_service.file.package, method.name, method.full_name)


class _TokenGate(grpc.GenericRpcHandler):
    """A service whose every call must show a token: without one, a call ends before its body is read."""

    def __init__(
        self,
        service: grpc.GenericRpcHandler,
        tokens: Tokens,
        methods: Mapping[str, ApiMethod],
        refusal: Callable[[ApiMethod, Unauthenticated], Any],
    ) -> None:
        """`methods` are the service's by path, /package.Service/Method."""
        self._service = service
        self._tokens = tokens
        self._methods = methods
        self._refusal = refusal

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = self._service.service(handler_call_details)
        if handler is None:
            return None
        try:
            _grant.set(self._tokens.grant(handler_call_details.invocation_metadata))
        except Unauthenticated as error:
            return self._refusal(self._methods[handler_call_details.method], error)
        return handler


def _call(context: Context, method: ApiMethod) -> Call:
    asked = dict(context.invocation_metadata() or ()).get(REQUEST_ID, "")
    grant = _grant.get()
    return Call(
        method=method,
        caller=Caller.named(context.peer() if grant is None else grant.name),
        request_id=request_id_of(asked),
        deadline=deadline_of(context.time_remaining()),
        grant=grant,
    )
