"""The errors of TEI: its types, its codes over gRPC, and its messages, which clients match on."""

import enum
from dataclasses import dataclass

from gemwire_server.errors import (
    EngineFailure,
    Expired,
    GemwireError,
    InvalidInput,
    Overloaded,
    QuotaExceeded,
    Stopped,
    Unauthenticated,
)

INVALID = "Input validation error: "
BACKEND = "Backend error: "


class ErrorType(enum.Enum):
    """What an answer over HTTP names an error; the status follows from it."""

    UNHEALTHY = "Unhealthy"
    BACKEND = "Backend"
    OVERLOADED = "Overloaded"
    TOKENIZER = "Tokenizer"
    VALIDATION = "Validation"
    EMPTY = "Empty"


class Refused(InvalidInput):
    """A request that TEI refuses too; `message` is TEI's own."""

    type = ErrorType.VALIDATION


class Empty(Refused):
    """A request that has nothing to work on."""

    type = ErrorType.EMPTY


class WrongModel(GemwireError):
    """A request that needs a model of another type; `message` is TEI's own."""

    code = "FAILED_PRECONDITION"


def refused(reason: str, message: str, field: str = "inputs") -> Refused:
    return Refused(reason, INVALID + message, field=field)


def empty(name: str) -> Empty:
    """The error of a request whose list of this name has nothing in it."""
    return Empty("EMPTY_TEXT", f"`{name}` cannot be empty", field=name.partition(".")[0])


def empty_text() -> Refused:
    return refused("EMPTY_TEXT", "`inputs` cannot be empty")


def not_sparse() -> WrongModel:
    """The error of every request for a sparse vector."""
    return WrongModel("MODEL_TYPE", f"{BACKEND}Model is not an embedding model with SPLADE pooling")


def not_a_classifier() -> WrongModel:
    """The error of every request for classes."""
    return WrongModel("MODEL_TYPE", f"{BACKEND}Model is not a classifier model")


def not_a_reranker() -> WrongModel:
    """The error of every request for ranks over gRPC."""
    return WrongModel("MODEL_TYPE", "model is not a classifier model")


@dataclass(frozen=True, slots=True)
class Worded:
    """An error in TEI's words; `code` is the name of its code over gRPC."""

    type: ErrorType
    code: str
    message: str


def worded(error: GemwireError) -> Worded:
    """Any error of this server in TEI's words.

    An error that TEI does not have keeps its own code and message, with the type that is nearest.
    """
    match error:
        case Refused():
            return Worded(error.type, error.code, error.message)
        case WrongModel():
            return Worded(ErrorType.BACKEND, error.code, error.message)
        case InvalidInput(reason="EMPTY_TEXT"):
            return worded(empty_text())
        case InvalidInput(reason="TEXT_TOO_LONG"):
            return Worded(ErrorType.VALIDATION, error.code, INVALID + _too_long(error))
        case InvalidInput():
            return Worded(ErrorType.VALIDATION, error.code, INVALID + error.message)
        case Overloaded():
            return Worded(ErrorType.OVERLOADED, error.code, "Model is overloaded")
        case QuotaExceeded():
            return Worded(ErrorType.OVERLOADED, error.code, error.message)
        case Stopped():
            return Worded(ErrorType.UNHEALTHY, error.code, error.message)
        case Unauthenticated():
            return Worded(ErrorType.VALIDATION, error.code, "No valid auth token")
        case EngineFailure():
            return Worded(ErrorType.BACKEND, "FAILED_PRECONDITION", BACKEND + error.message)
        case Expired():
            return Worded(ErrorType.OVERLOADED, error.code, error.message)
    return Worded(ErrorType.BACKEND, error.code, error.message)


def _too_long(error: InvalidInput) -> str:
    limit = int(error.metadata["limit"])
    # A text that is refused by its size alone has not been tokenized: so many tokens it has at least.
    tokens = error.metadata.get("tokens", limit + 1)
    return f"`inputs` must have less than {limit} tokens. Given: {tokens}"
