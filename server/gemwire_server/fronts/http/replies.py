"""What ASGI passes: headers of requests and whole answers."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = "application/json"
# The high-water mark of a transport. TLS takes whatever is written at once, and then says neither that the
# client does not read nor how much is left.
PIECE_BYTES = 65536


def read_headers(scope: Scope) -> dict[str, str]:
    """The headers of a request, lowercase names; of two with one name, the first."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return found


async def send_in_pieces(send: Send, message: MutableMapping[str, Any]) -> None:
    """Sends a message. Between the pieces of a large body `send` waits for a client that does not read."""
    body = message.get("body", b"")
    if len(body) > PIECE_BYTES:
        rest = memoryview(body)
        while len(rest) > PIECE_BYTES:
            await send({**message, "body": rest[:PIECE_BYTES], "more_body": True})
            rest = rest[PIECE_BYTES:]
        message = {**message, "body": rest}
    await send(message)


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
