"""Translates errors to google.rpc.Status and to the trailers of a call."""

import math
from collections.abc import Callable
from typing import NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from gemwire_server.errors import (
    GemwireError,
    InvalidInput,
    Overloaded,
    QuotaExceeded,
)
from gemwire_server.service.retries import retry_delay

DOMAIN = "gemwire.dev"
REQUEST_ID = "x-request-id"
"""The metadata that names a call: the client's own, or made up here, and back in the trailers."""

NEVER = -1  # gRPC's word for it, in milliseconds


Wording = Callable[[GemwireError], tuple[str, str]]
"""From an error to the name of the code, and the message, that callers of an API get."""


def own_wording(error: GemwireError) -> tuple[str, str]:
    """The error's own code and message, as in gemwire.v1."""
    return error.code, error.message


def to_status(error: GemwireError) -> Status:
    """The error with its details: ErrorInfo always, BadRequest and RetryInfo where they apply."""
    return _status(error, retry_delay(error), *own_wording(error))


def _status(error: GemwireError, retry_seconds: float | None, code: str, message: str) -> Status:
    # Clients refuse details whose code and message are not those of the call.
    status = Status(code=grpc.StatusCode[code].value[0], message=message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    status.details.add().Pack(info)
    if isinstance(error, InvalidInput) and error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=error.message, reason=error.reason
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, QuotaExceeded):
        quota = error_details_pb2.QuotaFailure.Violation(
            subject=error.subject, description=error.message
        )
        status.details.add().Pack(error_details_pb2.QuotaFailure(violations=[quota]))
    if retry_seconds is not None:
        delay = duration(retry_seconds)
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


async def abort(
    context: grpc.aio.ServicerContext[bytes, bytes],
    error: GemwireError,
    request_id: str,
    wording: Wording,
) -> NoReturn:
    """Ends the call with the error, in the words of the call's API.

    Where the queue is full or the quota used up, the pushback trailer says when to try again, or never,
    to clients whose gRPC retries. A server that goes away sends no pushback: another server can be asked
    at once.
    """
    retry_seconds = retry_delay(error)
    code, message = wording(error)
    details = _status(error, retry_seconds, code, message).SerializeToString()
    trailers: list[tuple[str, str | bytes]] = [
        ("grpc-status-details-bin", details),
        (REQUEST_ID, request_id),
    ]
    if isinstance(error, Overloaded | QuotaExceeded):
        pushback = NEVER if retry_seconds is None else math.ceil(retry_seconds * 1000)
        trailers.append(("grpc-retry-pushback-ms", str(pushback)))
    await context.abort(grpc.StatusCode[code], message, tuple(trailers))
    raise AssertionError("abort returned")


def duration(seconds: float) -> Duration:
    result = Duration()
    result.FromNanoseconds(max(0, round(seconds * 1e9)))
    return result
