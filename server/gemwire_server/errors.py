"""What can go wrong for a caller, as few types; each has the google.rpc.Code that callers get."""

from typing import ClassVar, Self


class GemwireError(Exception):
    """Something a caller is told about.

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


class NotFound(GemwireError):
    """The request names a model that is not here."""

    code = "NOT_FOUND"


class Unauthenticated(GemwireError):
    """The call came without a token that this server knows."""

    code = "UNAUTHENTICATED"


class QuotaExceeded(GemwireError):
    """`subject` has used what it may; other callers are served. Asking again soon does not help."""

    code = "RESOURCE_EXHAUSTED"

    def __init__(self, reason: str, message: str, *, subject: str, **metadata: str | int) -> None:
        super().__init__(reason, message, **metadata)
        self.subject = subject


class Overloaded(GemwireError):
    """There is no room now; `retry_after` seconds from now there should be, None: waiting does not help."""

    code = "RESOURCE_EXHAUSTED"

    def __init__(
        self, reason: str, message: str, *, retry_after: float | None, **metadata: str | int
    ) -> None:
        super().__init__(reason, message, **metadata)
        self.retry_after = retry_after


class Expired(GemwireError):
    """The deadline passed before the work was done; it was not computed."""

    code = "DEADLINE_EXCEEDED"


class Stopped(GemwireError):
    """The server is going away; another one, or this one `retry_after` seconds later, may answer."""

    code = "UNAVAILABLE"

    def __init__(self, reason: str, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class EngineFailure(GemwireError):
    """The engine could not compute this; nothing the caller sent explains it."""

    code = "INTERNAL"


class CheckpointError(Exception):
    """A checkpoint cannot be loaded; the message says which file, what is wrong and what to do."""


class DeviceError(Exception):
    """The device that was asked for cannot be used; the message says why and what to do."""


class StartError(Exception):
    """A process of the server's could not start; the message is its own."""


class DeviceLost(Exception):
    """The device failed so that nothing more can be computed on it by this process."""


def one_line(error: Exception) -> str:
    """What it says first: CUDA's and Triton's errors go on with advice to their developers."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
