"""Errors in TEI's form: {"error", "error_type"}, with TEI's statuses."""

import orjson

from gemwire_server.dialects.tei.errors import ErrorType, worded
from gemwire_server.errors import Expired, GemwireError, InvalidInput, Unauthenticated
from gemwire_server.fronts.http.errors import status_of

STATUSES = {
    ErrorType.UNHEALTHY: 503,
    ErrorType.BACKEND: 424,
    ErrorType.OVERLOADED: 429,
    ErrorType.TOKENIZER: 422,
    ErrorType.VALIDATION: 413,
    ErrorType.EMPTY: 400,
}
# What is wrong with a body before it is a request of the API.
STATUSES_OF_BODIES = {
    "MALFORMED_MESSAGE": 400,
    "BODY_TIMEOUT": 408,
    "BODY_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "WRONG_TYPE": 422,
}


def refusal(error: GemwireError) -> tuple[int, bytes]:
    """The HTTP status and the body."""
    if isinstance(error, Unauthenticated):
        return status_of(error), b""
    if error.reason in STATUSES_OF_BODIES:
        body = _body(error.message, ErrorType.VALIDATION)
        return STATUSES_OF_BODIES[error.reason], body
    words = worded(error)
    status = status_of(error) if isinstance(error, Expired) else STATUSES[words.type]
    return status, _body(words.message, words.type)


def _body(message: str, kind: ErrorType) -> bytes:
    return orjson.dumps({"error": message, "error_type": kind.value})


def wrong_type(field: str, expected: str) -> InvalidInput:
    """The error of a field that is missing or has a value of another type."""
    return InvalidInput("WRONG_TYPE", f"`{field}` must be {expected}", field=field)
