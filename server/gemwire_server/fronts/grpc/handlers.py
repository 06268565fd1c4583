"""Methods as grpc.aio sees them: bytes in, bytes out.

Parsing happens here and not in grpcio, which answers bytes that are no message with UNKNOWN and the
parser's own text; serializing happens in `wire`, which writes vectors as a block.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from gemwire_server.errors import GemwireError, InvalidInput, Overloaded, Stopped, Unauthenticated
from gemwire_server.fronts.grpc.message_limits import has_too_many_fields
from gemwire_server.fronts.grpc.status import CODES, REQUEST_ID, abort, internal
from gemwire_server.security.tokens import Grant, Tokens
from gemwire_server.service.call import Call, Caller, deadline_of
from gemwire_server.service.call_observer import CallObserver

M = TypeVar("M", bound=Message)
Code = grpc.StatusCode
Context = grpc.aio.ServicerContext[bytes, bytes]
Method = Callable[[Any, Call], Awaitable[Message | bytes | None]]
MAX_REQUEST_ID = 128
# Set where a call is let in, read where it is handled: grpc.aio does both in the call's own task.
_grant: ContextVar[Grant | None] = ContextVar("grant", default=None)


def parse(kind: type[M], raw: bytes, max_inputs: int, within: int = 0) -> M:
    """The message in the bytes; InvalidInput if they are none, or hold far more than `max_inputs` inputs.

    `within` is the number of the field that the inputs are in, if they are in one.
    """
    if has_too_many_fields(raw, max_inputs, within):
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


def response_too_large(
    what: str, limit: int, advice: str, field: str = "", **metadata: int
) -> InvalidInput:
    """For an answer that a client might not be able to receive."""
    return InvalidInput(
        "RESPONSE_TOO_LARGE",
        f"{what}; the server's limit, --max-response-bytes, is {limit}: {advice}",
        field=field,
        limit=limit,
        **metadata,
    )


class CallGate:
    """The calls under way, and the gate that closes when the server drains."""

    def __init__(
        self,
        limit: int,
        max_inputs: int,
        max_response_bytes: int,
        watch: CallObserver,
        tokens: Tokens | None = None,
    ) -> None:
        """At most `limit` at once, with at most `max_inputs` each; with `tokens`, each needs one.

        `max_response_bytes` is for the answer of a unary call.
        """
        self._limit = limit
        self._max_inputs = max_inputs
        self._max_response_bytes = max_response_bytes
        self._watch = watch
        self._tokens = tokens
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def close(self) -> None:
        """From now on new calls are answered with UNAVAILABLE."""
        self._closed = True

    async def wait_idle(self) -> None:
        """Returns when no call is under way."""
        await self._idle.wait()

    @contextmanager
    def one(self) -> Iterator[None]:
        """A call, from its start to its end."""
        if self._closed:
            raise Stopped("DRAINING", "the server is shutting down")
        if self._count >= self._limit:
            raise Overloaded(
                "TOO_MANY_CALLS", f"{self._limit} calls are open, the limit", retry_after=1.0
            )
        self._count += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._idle.set()

    def handler(
        self, service: ServiceDescriptor, methods: Mapping[str, Method]
    ) -> grpc.GenericRpcHandler:
        """The handlers of a service; every method of it must be in `methods`.

        A unary method gets its parsed request and returns a message or its bytes; a streaming method
        gets the context in its place, to read from and write to.
        """
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for method in service.methods:
            if method.client_streaming:
                behaviour = self._shielded(methods[method.name], method.full_name, None)
                handlers[method.name] = grpc.stream_stream_rpc_method_handler(behaviour)
            else:
                request = GetMessageClass(method.input_type)
                behaviour = self._shielded(methods[method.name], method.full_name, request)
                handlers[method.name] = grpc.unary_unary_rpc_method_handler(behaviour)
        open_to_all = grpc.method_handlers_generic_handler(service.full_name, handlers)
        if self._tokens is None:
            return open_to_all
        return _Gate(open_to_all, self._tokens, self._refusal)

    def _refusal(self, method: str, error: Unauthenticated) -> Any:
        """The handler of a call that is not let in. To end it unread it is a stream's, for any method."""

        async def refuse(_: Any, __: Call) -> None:
            raise error

        return grpc.stream_stream_rpc_method_handler(self._shielded(refuse, method, None))

    def _shielded(self, method: Method, name: str, request_type: type[Message] | None) -> Any:
        """Parses, calls, serializes. An error becomes its status; a bug becomes INTERNAL, no word more."""

        async def behaviour(request: Any, context: Context) -> bytes | None:
            call = _call(context, name)
            context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
            self._watch.started(call, context)
            try:
                with self.one():
                    if request_type is None:
                        answer = await method(context, call)
                    else:
                        answer = await method(parse(request_type, request, self._max_inputs), call)
                if isinstance(answer, Message):
                    answer = answer.SerializeToString()
                if answer is not None and len(answer) > self._max_response_bytes:
                    raise response_too_large(
                        f"the answer has {len(answer)} bytes",
                        self._max_response_bytes,
                        "send a shorter text, or do without its pieces",
                    )
                self._watch.ended(call, Code.OK)
                return answer
            except GemwireError as error:
                failed = error.forgetting()
            except Exception as error:
                failed = internal(error, call)
            except asyncio.CancelledError:
                late = call.is_late
                self._watch.ended(call, Code.DEADLINE_EXCEEDED if late else Code.CANCELLED)
                raise
            # First, so that who has the answer finds it counted.
            self._watch.ended(call, CODES[type(failed)], failed.reason)
            # gRPC keeps the exception that aborts, which keeps these frames, which keep the context: a
            # circle, and Python looks for circles by their number, not by the megabytes in them.
            del request
            await abort(context, failed, call.request_id)

        return behaviour


class _Gate(grpc.GenericRpcHandler):
    """A service before which every call shows a token: without one it ends before its body is read."""

    def __init__(
        self,
        service: grpc.GenericRpcHandler,
        tokens: Tokens,
        refusal: Callable[[str, Unauthenticated], Any],
    ) -> None:
        self._service = service
        self._tokens = tokens
        self._refusal = refusal

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = self._service.service(handler_call_details)
        if handler is None:
            return None
        try:
            _grant.set(self._tokens.grant(handler_call_details.invocation_metadata))
        except Unauthenticated as error:
            method = handler_call_details.method.removeprefix("/").replace("/", ".")
            return self._refusal(method, error)
        return handler


def _call(context: Context, method: str) -> Call:
    asked = dict(context.invocation_metadata() or ()).get(REQUEST_ID, "")
    given = isinstance(asked, str) and 0 < len(asked) <= MAX_REQUEST_ID and asked.isprintable()
    grant = _grant.get()
    return Call(
        method=method,
        caller=Caller.named(context.peer() if grant is None else grant.name),
        request_id=str(asked) if given else uuid.uuid4().hex,
        deadline=deadline_of(context.time_remaining()),
        grant=grant,
    )
