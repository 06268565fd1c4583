"""What ASGI passes: headers of requests and whole answers."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = "application/json"


def read_headers(scope: Scope) -> dict[str, str]:
    """The headers of a request, lowercase names; of two with one name, the first."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return found


async def reply(
    send: Send,
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    content_type: str = JSON,
    *,
    before_close: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Sends a whole answer. With `before_close`, the connection is closed, after that has ended."""
    fields = {"content-length": str(len(body)), **headers}
    if status == 204:
        del fields["content-length"]
    else:
        fields["content-type"] = content_type
    if before_close is not None:
        fields["connection"] = "close"
    raw = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    if before_close is not None:
        # The client has the whole answer now.
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await before_close()
        body = b""
    await send({"type": "http.response.body", "body": body})
