"""Methods as ASGI sees them: a body in, JSON out, every error in the form of the method's API."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from gemwire_server.errors import GemwireError, Unauthenticated
from gemwire_server.fronts.http.api import Handle
from gemwire_server.fronts.http.bodies import Disconnected, Receive, read_body
from gemwire_server.fronts.http.errors import headers_of
from gemwire_server.security.tokens import Grant, Tokens
from gemwire_server.service.call import ApiMethod, Call, Caller
from gemwire_server.service.service import Service, internal_error

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Refusal = Callable[[GemwireError], tuple[int, bytes]]

REQUEST_ID = "x-request-id"
MAX_REQUEST_ID = 128
JSON = "application/json"


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
    ) -> None:
        """With `tokens`, each call needs one."""
        self._service = service
        self._tokens = tokens
        self._method = method
        self._handle = handle
        self._refusal = refusal
        self._max_request_bytes = max_request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = read_headers(scope)
        call, refused = self._call(scope, headers)
        status, body, failed = 200, b"", None
        try:
            async with self._service.call(call, headers.items()):
                if refused is not None:
                    raise refused
                raw = await read_body(receive, headers, self._max_request_bytes)
                async with cancelled_with_client(receive):
                    body = await self._handle(raw, call)
        except GemwireError as error:
            failed = error.forgetting()
        except Disconnected:
            return
        except Exception as error:
            # The service itself has failed, for example to count the call.
            failed = internal_error(error, call)
        answer = dict(call.headers)
        if failed is not None:
            status, body = self._refusal(failed)
            answer = headers_of(failed)
        await reply(send, status, body, answer | {REQUEST_ID: call.request_id})

    def _call(
        self, scope: Scope, headers: Mapping[str, str]
    ) -> tuple[Call, Unauthenticated | None]:
        """The call, and the error with which it is refused before its body is read."""
        grant: Grant | None = None
        refused: Unauthenticated | None = None
        if self._tokens is not None:
            try:
                grant = self._tokens.grant(headers.items())
            except Unauthenticated as error:
                refused = error
        client = scope.get("client") or ("", 0)
        asked = headers.get(REQUEST_ID, "")
        given = 0 < len(asked) <= MAX_REQUEST_ID and asked.isascii() and asked.isprintable()
        call = Call(
            method=self._method,
            caller=Caller.named(f"http:{client[0]}:{client[1]}" if grant is None else grant.name),
            request_id=asked if given else uuid.uuid4().hex,
            grant=grant,
        )
        return call, refused


@asynccontextmanager
async def cancelled_with_client(receive: Receive) -> AsyncIterator[None]:
    """Cancels the block when the client disconnects, and raises Disconnected after it."""
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if gone and not task.uncancel():
            raise Disconnected from None
        raise
    finally:
        watcher.cancel()


def read_headers(scope: Scope) -> dict[str, str]:
    """The headers of a request, lowercase names; of two with one name, the first."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return found


async def reply(
    send: Send, status: int, body: bytes, headers: Mapping[str, str], content_type: str = JSON
) -> None:
    """Sends a whole answer."""
    fields = {"content-type": content_type, "content-length": str(len(body)), **headers}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
