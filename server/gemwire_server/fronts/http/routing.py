"""Finds the route of a request; what has no route gets an error in JSON."""

import logging
import traceback
from collections.abc import Sequence
from functools import partial

import orjson
from starlette.routing import Match, Route

from gemwire_server.fronts.http.bodies import Receive, forget_body, has_body
from gemwire_server.fronts.http.errors import error_body
from gemwire_server.fronts.http.replies import Scope, Send, read_headers, reply

log = logging.getLogger(__name__)


class Routes:
    """The ASGI application of the front. No exception passes it: uvicorn would log the exception's text."""

    def __init__(self, routes: Sequence[Route], *, max_request_bytes: int) -> None:
        self._routes = routes
        self._max_request_bytes = max_request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        except Exception as error:
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("HTTP: %s in\n%s", type(error).__name__, frames)
            # Without effect, but for the end of the connection, where the answer has begun.
            await self._refuse(
                scope, receive, send, 500, "internal", "internal error; the server's log says more"
            )

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        allowed: set[str] = set()
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                await route.handle(scope, receive, send)
                return
            if match is Match.PARTIAL:
                allowed |= set(route.methods or ())
        if not allowed:
            await self._refuse(
                scope, receive, send, 404, "not_found", "there is nothing at this path"
            )
            return
        allow = {"allow": ", ".join(sorted(allowed | {"OPTIONS"}))}
        if scope["method"] == "OPTIONS" and not has_body(read_headers(scope)):
            await reply(send, 204, b"", allow)
        else:
            what = "the path takes another method: see the header Allow"
            await self._refuse(scope, receive, send, 405, "method_not_allowed", what, allow)

    async def _refuse(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        status: int,
        code: str,
        message: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        body = orjson.dumps(error_body(status, code, message))
        if has_body(read_headers(scope)):
            rest = partial(forget_body, receive, self._max_request_bytes)
            await reply(send, status, body, headers or {}, before_close=rest)
        else:
            await reply(send, status, body, headers or {})
