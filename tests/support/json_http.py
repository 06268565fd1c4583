"""Calls of an HTTP API over a real socket."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` have lowercase names."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        """The value in the body; what is not JSON, such as NaN, raises ValueError."""
        return json.loads(self.raw, parse_constant=_refuse)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def request(
    address: str,
    path: str,
    body: Any = None,
    *,
    verb: str = "",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Sends bytes as they are and other values as JSON: POST with a body, else GET, unless `verb` says."""
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {"content-type": "application/json"} if raw is not None else {}
    connection = http.client.HTTPConnection(address, timeout=WAIT)
    try:
        method = verb or ("GET" if raw is None else "POST")
        connection.request(method, path, raw, {**sent, **(headers or {})})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()
