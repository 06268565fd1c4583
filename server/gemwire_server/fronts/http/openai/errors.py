"""Errors in OpenAI's form: {"error": {"message", "type", "param", "code"}}."""

import orjson

from gemwire_server.errors import (
    GemwireError,
    InvalidInput,
    NotFound,
    Overloaded,
    QuotaExceeded,
    Unauthenticated,
)
from gemwire_server.fronts.http.errors import status_of

CODES = {"TEXT_TOO_LONG": "context_length_exceeded"}
"""OpenAI's codes for reasons of InvalidInput; others are the reason in lowercase."""


def refusal(error: GemwireError) -> tuple[int, bytes]:
    """The HTTP status and the body."""
    status = status_of(error)
    kind, code = _type_and_code(error, status)
    message, param = _message_and_param(error)
    fields = {"message": message, "type": kind, "param": param, "code": code}
    return status, orjson.dumps({"error": fields})


def _type_and_code(error: GemwireError, status: int) -> tuple[str, str]:
    match error:
        case Unauthenticated():
            return "authentication_error", "invalid_api_key"
        case QuotaExceeded():
            return "insufficient_quota", "insufficient_quota"
        case Overloaded():
            return "rate_limit_error", "rate_limit_exceeded"
    code = CODES.get(error.reason, error.reason.lower())
    if status < 500:
        return "invalid_request_error", code
    return "timeout" if status == 504 else "server_error", code


def _message_and_param(error: GemwireError) -> tuple[str, str | None]:
    """The message names the text that the error is about, the param the field of the request."""
    if isinstance(error, NotFound):
        return error.message, "model"
    if not isinstance(error, InvalidInput):
        return error.message, None
    text, _, part = error.field.partition(".")
    field = text.partition("[")[0]
    if error.reason == "TEXT_TOO_LONG":
        message = _too_long(text, error)
    else:
        message = error.message if text == field else f"{text}: {error.message}"
    return message, ("title" if part == "title" else field) or None


def _too_long(text: str, error: InvalidInput) -> str:
    """Begins as OpenAI's message does: frameworks know an exceeded window by these words."""
    figures = error.metadata
    count = (
        f"{figures['tokens']} tokens"
        if "tokens" in figures
        else f"{figures['characters']} characters, which are more tokens than that"
    )
    return (
        f"This model's maximum context length is {figures['limit']} tokens, however you requested "
        f"{count} ({text} with its prompt and special tokens). Shorten it, or send "
        '"truncation": "end", which drops the end of such texts.'
    )
