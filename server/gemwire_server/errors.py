"""The errors of a server. Each that can reach a caller has the google.rpc.Code that callers get."""

from collections.abc import Callable
from typing import Any, ClassVar, Self


class GemwireError(Exception):
    """An error that reaches the caller.

    `reason` is machine-readable (google.rpc.ErrorInfo), `message` is for people and never holds a
    text or an internal detail, `metadata` holds the figures of the message. `code` is the name of a
    google.rpc.Code.
    """

    code: ClassVar[str]

    def __init__(self, reason: str, message: str, **metadata: str | int) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = {key: str(value) for key, value in metadata.items()}

    def details(self) -> dict[str, str | float]:
        """The type's own fields: the keyword arguments that are neither reason, message nor metadata."""
        return {}

    def forgetting(self) -> Self:
        """The error without the frames that it came through, which hold the request, and often a circle."""
        self.__traceback__ = self.__context__ = None
        return self


class InvalidInput(GemwireError):
    """The request cannot be served as it is, now or later. `field` is its path, if it has one."""

    code = "INVALID_ARGUMENT"

    def __init__(
        self, reason: str, message: str, *, field: str = "", **metadata: str | int
    ) -> None:
        super().__init__(reason, message, **metadata)
        self.field = field

    def details(self) -> dict[str, str | float]:
        return {"field": self.field}


class NotFound(GemwireError):
    """The request names a model that this server does not serve."""

    code = "NOT_FOUND"


class Unsupported(GemwireError):
    """The method is for another kind of model than the one that is served."""

    code = "UNIMPLEMENTED"


class Unauthenticated(GemwireError):
    """The call has no token that this server knows."""

    code = "UNAUTHENTICATED"


class QuotaExceeded(GemwireError):
    """`subject` has used up its quota; other callers are served. A retry soon does not help."""

    code = "RESOURCE_EXHAUSTED"

    def __init__(self, reason: str, message: str, *, subject: str, **metadata: str | int) -> None:
        super().__init__(reason, message, **metadata)
        self.subject = subject

    def details(self) -> dict[str, str | float]:
        return {"subject": self.subject}


class Overloaded(GemwireError):
    """The server has no room now. It should have room in `retry_after` seconds."""

    code = "RESOURCE_EXHAUSTED"

    def __init__(
        self, reason: str, message: str, *, retry_after: float, **metadata: str | int
    ) -> None:
        super().__init__(reason, message, **metadata)
        self.retry_after = retry_after

    def details(self) -> dict[str, str | float]:
        return {"retry_after": self.retry_after}


class Expired(GemwireError):
    """The deadline passed before the work was done; it was not computed."""

    code = "DEADLINE_EXCEEDED"


class Stopped(GemwireError):
    """The server stops. Another server, or this one in `retry_after` seconds, may answer."""

    code = "UNAVAILABLE"

    def __init__(self, reason: str, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after

    def details(self) -> dict[str, str | float]:
        return {"retry_after": self.retry_after}


class EngineFailure(GemwireError):
    """The engine could not compute the text, for no reason that the request shows."""

    code = "INTERNAL"


def response_too_large(
    what: str, limit: int, advice: str, field: str = "", **metadata: int
) -> InvalidInput:
    """The error for an answer that a client might not be able to receive."""
    return InvalidInput(
        "RESPONSE_TOO_LARGE",
        f"{what}; the server's limit, --max-response-bytes, is {limit}: {advice}",
        field=field,
        limit=limit,
        **metadata,
    )


TYPES: dict[str, Callable[..., GemwireError]] = {
    kind.__name__: kind
    for kind in (
        InvalidInput,
        NotFound,
        Unsupported,
        Unauthenticated,
        QuotaExceeded,
        Overloaded,
        Expired,
        Stopped,
        EngineFailure,
    )
}


def to_fields(error: GemwireError) -> dict[str, Any]:
    """The error in JSON's types; `from_fields` makes an equal error of them."""
    return {
        "type": type(error).__name__,
        "reason": error.reason,
        "message": error.message,
        "details": error.details(),
        "metadata": error.metadata,
    }


def from_fields(fields: dict[str, Any]) -> GemwireError:
    """Raises KeyError for a type that is not in TYPES."""
    kind = TYPES[fields["type"]]
    return kind(fields["reason"], fields["message"], **fields["details"], **fields["metadata"])


class CheckpointError(Exception):
    """A checkpoint cannot be loaded; the message says which file, what is wrong and what to do."""


class DeviceError(Exception):
    """The device that was asked for cannot be used; the message says why and what to do."""


class StartError(Exception):
    """A process of the server could not start; the message is that process's own."""


class DeviceLost(Exception):
    """The device failed, and this process cannot compute on it any more."""


def one_line(error: Exception) -> str:
    """The first line of its message: CUDA's and Triton's errors go on with advice to their developers."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
