"""HTTP statuses and headers of errors."""

import math
from typing import Any

from gemwire_server.errors import GemwireError, QuotaExceeded, Unauthenticated
from gemwire_server.service.retries import retry_delay

STATUSES = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""By the code of an error."""

# InvalidInput that HTTP has a status of its own for.
STATUSES_BY_REASON = {
    "METHOD_NOT_ALLOWED": 405,
    "BODY_TIMEOUT": 408,
    "BODY_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
}


def error_body(status: int, code: str, message: str) -> dict[str, Any]:
    """The error of a request that no API has seen, in the form that OpenAI's clients know."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code.lower()}}


def status_of(error: GemwireError) -> int:
    """The HTTP status of an error, unless its API has another."""
    return STATUSES_BY_REASON.get(error.reason) or STATUSES[error.code]


def headers_of(error: GemwireError) -> dict[str, str]:
    """What the error tells programs, whatever the API: when to try again, how to show a token.

    `retry-after` is in whole seconds, as HTTP has it, and `retry-after-ms` is for clients that know it.
    """
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": "Bearer"}
    if isinstance(error, QuotaExceeded):
        # OpenAI's libraries retry a 429 unless this forbids them to.
        return {"x-should-retry": "false"}
    if (seconds := retry_delay(error)) is not None:
        milliseconds = math.ceil(seconds * 1000)
        return {
            "retry-after": str(max(1, math.ceil(seconds))),
            "retry-after-ms": str(milliseconds),
        }
    return {}
