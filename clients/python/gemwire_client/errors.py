"""The errors that a call can raise: one type for each thing a caller would do differently."""

from collections.abc import Mapping

import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

DETAILS_KEY = "grpc-status-details-bin"
DOMAIN = "gemwire.dev"  # of every ErrorInfo that a gemwire server sends


class GemwireError(Exception):
    """A call, or one text of many, failed.

    `code` is the gRPC status; `reason`, `metadata` and `fields` (path → what is wrong with it) are the
    server's google.rpc details, empty if it gave none; `retry_after` is in seconds, None without
    RetryInfo. `index` is the place of the text in the request, for an error of one text, and
    `errors` maps the indices of all texts that failed with it to their errors.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.fields = dict(fields or {})
        self.retry_after = retry_after
        self.index: int | None = None
        self.errors: dict[int, GemwireError] = {}

    def __str__(self) -> str:
        where = "" if self.index is None else f"text {self.index}: "
        return where + super().__str__()


class InvalidInput(GemwireError):
    """The request, or this text, cannot be served as it is."""


class NotFound(GemwireError):
    """The server has no such model."""


class Overloaded(GemwireError):
    """The server has no room now; see `retry_after`."""


class DeadlineExceeded(GemwireError):
    """The time ran out."""


class ProxyTimeout(DeadlineExceeded):
    """A time limit of a proxy ran out, and not the call's own: the message names the setting to raise."""


class Unavailable(GemwireError):
    """No server answered, or it is going away."""


class ConnectionLost(Unavailable):
    """The connection broke, or a proxy found no server or lost the one that it had found.

    `in_flight` is False if no server can have begun to work on the call. `reset` is True if the call alone
    was cut, and the connection stands: that is how a proxy ends a call.
    """

    in_flight = True
    reset = False


class AccessDenied(GemwireError):
    """Credentials are missing, wrong or not enough."""


class EngineFailure(GemwireError):
    """The server could not compute this; its log says more."""


TYPES: dict[grpc.StatusCode, type[GemwireError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.UNAUTHENTICATED: AccessDenied,
    grpc.StatusCode.PERMISSION_DENIED: AccessDenied,
    grpc.StatusCode.INTERNAL: EngineFailure,
}
CODES = {code.value[0]: code for code in grpc.StatusCode}


def from_status(status: Status, index: int | None = None) -> GemwireError:
    """Translates a google.rpc.Status into an error."""
    bad_request = error_details_pb2.BadRequest()
    retry_info = error_details_pb2.RetryInfo()
    retry_after = None
    for detail in status.details:
        detail.Unpack(bad_request)
        if detail.Unpack(retry_info):
            retry_after = retry_info.retry_delay.ToNanoseconds() / 1e9
    info = error_info(status)
    code = CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    error = TYPES.get(code, GemwireError)(
        status.message,
        code=code,
        reason=info.reason,
        metadata=info.metadata,
        fields={
            violation.field: violation.description for violation in bad_request.field_violations
        },
        retry_after=retry_after,
    )
    error.index = index
    return error


def error_info(status: Status) -> error_details_pb2.ErrorInfo:
    """The ErrorInfo among the details; empty if there is none."""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        detail.Unpack(info)
    return info


def model_changed() -> GemwireError:
    """The error where one result would hold vectors of two revisions."""
    return GemwireError(
        "another server answered with another revision of the model: its vectors do not compare with "
        "those before",
        code=grpc.StatusCode.FAILED_PRECONDITION,
        reason="MODEL_CHANGED",
    )


def too_large(size: int, limit: int, index: int) -> InvalidInput:
    """The error of a text that no message within the server's limit can hold."""
    error = InvalidInput(
        f"the text has {size} bytes; a request takes {limit}",
        code=grpc.StatusCode.INVALID_ARGUMENT,
        reason="TEXT_TOO_LONG",
    )
    error.index = index
    return error
