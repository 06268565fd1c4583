"""Reads the bodies of requests within their limits, and the JSON in them."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson

from gemwire_server.errors import InvalidInput

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Disconnected(Exception):
    """The client has gone before its request was whole."""


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """The whole body. Raises InvalidInput for a body that is larger than `limit` bytes, which is not read
    further, or encoded; and Disconnected."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidInput(
            "UNSUPPORTED_MEDIA_TYPE", "the body is compressed; send it without content-encoding"
        )
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def too_large(limit: int) -> InvalidInput:
    return InvalidInput(
        "BODY_TOO_LARGE",
        f"the body has more than {limit} bytes, the server's --max-request-bytes: send fewer or shorter "
        "texts",
        limit=limit,
    )


def read_json(raw: bytes) -> Any:
    """The value in the body. Raises InvalidInput MALFORMED_MESSAGE for what is not JSON."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:  # its own text may quote the body
        raise InvalidInput("MALFORMED_MESSAGE", "the body is not JSON in UTF-8") from None
