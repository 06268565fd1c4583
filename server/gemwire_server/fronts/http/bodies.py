"""Reads the bodies of requests within their limits, and the JSON in them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson

from gemwire_server.errors import InvalidInput
from gemwire_server.fronts.http.body_budget import BodyShare
from gemwire_server.fronts.http.connections import BODY_SECONDS
from gemwire_server.fronts.http.json_values import has_too_many_values

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MAX_VALUES = 65536
"""Values and keys in a body, unless its API says otherwise: far more than the texts of one request."""
# How much of a refused request is read and forgotten, in bodies of the largest size, and for how long. A
# client that sends its whole request before it reads would not see the answer otherwise.
LINGER_BODIES = 8
LINGER_SECONDS = 5.0


class Disconnected(Exception):
    """The client has gone before its request was whole."""


def has_body(headers: Mapping[str, str]) -> bool:
    """Whether the headers announce a body."""
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def check_headers(headers: Mapping[str, str], limit: int, *, json_only: bool) -> None:
    """Raises InvalidInput for a body that its headers show to be too large, encoded, or, with `json_only`,
    no JSON."""
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise InvalidInput(
            "UNSUPPORTED_MEDIA_TYPE", "the body is compressed; send it without content-encoding"
        )
    if json_only and not _is_json(headers.get("content-type", "")):
        raise InvalidInput(
            "UNSUPPORTED_MEDIA_TYPE", "the body must have content-type: application/json"
        )
    # The parser has checked it; int() refuses thousands of leading zeros.
    announced = int(headers.get("content-length", "").lstrip("0") or 0)
    if announced > limit:
        raise too_large(limit)


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


async def read_body(receive: Receive, limit: int, share: BodyShare) -> bytes:
    """The whole body. Raises InvalidInput for a body that is larger than `limit` bytes or comes too slowly,
    Overloaded if there is no room for it, and Disconnected."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                part: bytes = message.get("body", b"")
                size += len(part)
                if size > limit:
                    raise too_large(limit)
                share.grow_to(size)
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise InvalidInput(
            "BODY_TIMEOUT", f"the body was not whole after {BODY_SECONDS:g} s"
        ) from None


async def forget_body(receive: Receive, limit: int) -> None:
    """Reads the rest of a request that is answered already, for a while, and forgets it."""
    left = LINGER_BODIES * limit
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                message = await receive()
                if not message.get("more_body", False):
                    return
                left -= len(message["body"])
    except TimeoutError:
        pass


def too_large(limit: int) -> InvalidInput:
    return InvalidInput(
        "BODY_TOO_LARGE",
        f"the body has more than {limit} bytes, the server's --max-request-bytes: send fewer or shorter "
        "texts",
        limit=limit,
    )


def read_json(raw: bytes, max_values: int = MAX_VALUES) -> Any:
    """The value in the body. Raises InvalidInput MALFORMED_MESSAGE for what is not JSON, and
    TOO_MANY_INPUTS for a large body with more than `max_values` values and keys."""
    if has_too_many_values(raw, max_values):
        raise InvalidInput(
            "TOO_MANY_INPUTS",
            f"the body has more than {max_values} values: send fewer inputs at once",
            limit=max_values,
        )
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:  # its own text may quote the body
        raise InvalidInput("MALFORMED_MESSAGE", "the body is not JSON in UTF-8") from None
