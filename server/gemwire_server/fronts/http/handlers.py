"""Methods as ASGI sees them: a body in, JSON out, every error in the form of the method's API."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from gemwire_server.errors import GemwireError, Stopped
from gemwire_server.fronts.http.bodies import (
    Disconnected,
    Receive,
    check_headers,
    forget_body,
    has_body,
    read_body,
)
from gemwire_server.fronts.http.body_budget import BodyBudget, BodyShare
from gemwire_server.fronts.http.deadlines import timeout_of
from gemwire_server.fronts.http.disconnects import DisconnectWatch
from gemwire_server.fronts.http.errors import headers_of
from gemwire_server.fronts.http.methods import Handle
from gemwire_server.fronts.http.replies import Scope, Send, read_headers, reply
from gemwire_server.security.tokens import Grant, Tokens
from gemwire_server.service.call import ApiMethod, Call, Caller, expired_at, request_id_of
from gemwire_server.service.service import Service, internal_error

Refusal = Callable[[GemwireError], tuple[int, bytes]]

REQUEST_ID = "x-request-id"


class Endpoint:
    """An ASGI application that answers one method of an API."""

    def __init__(
        self,
        service: Service,
        tokens: Tokens | None,
        method: ApiMethod,
        handle: Handle,
        refusal: Refusal,
        *,
        max_request_bytes: int,
        bodies: BodyBudget,
        json_only: bool = False,
    ) -> None:
        """With `tokens`, each call needs one. `bodies` is shared by all endpoints. With `json_only`, a body
        of another content type is refused."""
        self._service = service
        self._tokens = tokens
        self._method = method
        self._handle = handle
        self._refusal = refusal
        self._max_request_bytes = max_request_bytes
        self._bodies = bodies
        self._json_only = json_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = read_headers(scope)
        share = self._bodies.body()
        try:
            await self._answer(scope, headers, receive, send, share)
        except Disconnected:
            pass
        finally:
            share.close()

    async def _answer(
        self,
        scope: Scope,
        headers: Mapping[str, str],
        receive: Receive,
        send: Send,
        share: BodyShare,
    ) -> None:
        began = time.monotonic()
        raw, grant, failed, is_read = b"", None, None, not has_body(headers)
        try:
            grant = None if self._tokens is None else self._tokens.grant(headers.items())
            if not is_read:
                check_headers(headers, self._max_request_bytes, json_only=self._json_only)
                raw = await read_body(receive, self._max_request_bytes, share)
                is_read = True
            if scope.get("path_params"):
                raw = path_parameter(scope)
        except GemwireError as error:
            failed = error.forgetting()
        except asyncio.CancelledError:
            await self._say_stopped(send, self._call(scope, headers, grant, began))
            raise
        # As in gRPC, a call begins with its whole request: slow bodies take no place of other calls.
        call = self._call(scope, headers, grant, began)
        watch = DisconnectWatch(receive)
        body = b""
        try:
            async with self._service.call(call, headers.items()):
                if failed is not None:
                    raise failed
                with watch:
                    async with client_deadline(call):
                        body = await self._handle(raw, call)
        except GemwireError as error:
            failed = error.forgetting()
        except asyncio.CancelledError:
            if watch.took_back():
                raise Disconnected from None
            await self._say_stopped(send, call)
            raise
        except Exception as error:
            # The service itself has failed, for example to count the call.
            failed = internal_error(error, call)
        # The client may be slow to read, and nothing needs the request any more.
        raw = b""
        share.close()
        if failed is None:
            await reply(send, 200, body, call.headers | {REQUEST_ID: call.request_id})
        else:
            await self._reply(send, call, failed, receive if not is_read else None)

    async def _say_stopped(self, send: Send, call: Call) -> None:
        """The server ends, and the client must not wait for an answer that does not come."""
        await self._reply(send, call, Stopped("DRAINING", "the server is shutting down"))

    async def _reply(
        self, send: Send, call: Call, failed: GemwireError, unread: Receive | None = None
    ) -> None:
        """`unread` gives the rest of a request that was refused before its body was whole."""
        status, body = self._refusal(failed)
        headers = headers_of(failed) | {REQUEST_ID: call.request_id}
        rest = partial(forget_body, unread, self._max_request_bytes) if unread else None
        await reply(send, status, body, headers, before_close=rest)

    def _call(
        self, scope: Scope, headers: Mapping[str, str], grant: Grant | None, began: float
    ) -> Call:
        client = scope.get("client") or ("", 0)
        seconds = timeout_of(headers)
        return Call(
            method=self._method,
            caller=Caller.named(f"http:{client[0]}:{client[1]}" if grant is None else grant.name),
            request_id=request_id_of(headers.get(REQUEST_ID)),
            deadline=None if seconds is None else began + seconds,
            grant=grant,
        )


def path_parameter(scope: Scope) -> bytes:
    """The value of the parameter in the request's path."""
    return "".join(scope["path_params"].values()).encode()


@asynccontextmanager
async def client_deadline(call: Call) -> AsyncIterator[None]:
    """Raises Expired at the deadline that the client set, which HTTP itself does not know."""
    if call.deadline is None:
        yield
        return
    async with expired_at(call.deadline, "the time that the client gave the request is over"):
        yield
