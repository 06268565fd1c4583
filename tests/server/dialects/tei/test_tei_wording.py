"""Errors of this server in TEI's words."""

import pytest

from gemwire_server.dialects.tei.errors import ErrorType, Worded, empty_text, not_sparse, worded
from gemwire_server.errors import (
    EngineFailure,
    Expired,
    GemwireError,
    InvalidInput,
    NotFound,
    Overloaded,
    QuotaExceeded,
    Stopped,
    Unauthenticated,
)
from gemwire_server.fronts.grpc.tei_v1.api import TeiV1

INVALID = "Input validation error: "
SPARSE = "Backend error: Model is not an embedding model with SPLADE pooling"


@pytest.mark.parametrize(
    ("error", "kind", "code", "message"),
    [
        (empty_text(), "Validation", "INVALID_ARGUMENT", f"{INVALID}`inputs` cannot be empty"),
        (
            InvalidInput("EMPTY_TEXT", "other words"),
            "Validation",
            "INVALID_ARGUMENT",
            f"{INVALID}`inputs` cannot be empty",
        ),
        (
            InvalidInput("TEXT_TOO_LONG", "m", tokens=4230, limit=2048),
            "Validation",
            "INVALID_ARGUMENT",
            f"{INVALID}`inputs` must have less than 2048 tokens. Given: 4230",
        ),
        (
            InvalidInput("TEXT_TOO_LONG", "m", characters=10**6, limit=2048),
            "Validation",
            "INVALID_ARGUMENT",
            f"{INVALID}`inputs` must have less than 2048 tokens. Given: 2049",
        ),
        (InvalidInput("ANY", "m"), "Validation", "INVALID_ARGUMENT", f"{INVALID}m"),
        (not_sparse(), "Backend", "FAILED_PRECONDITION", SPARSE),
        (
            Overloaded("QUEUE_FULL", "m", retry_after=1.0),
            "Overloaded",
            "RESOURCE_EXHAUSTED",
            "Model is overloaded",
        ),
        (QuotaExceeded("QUOTA", "m", subject="s"), "Overloaded", "RESOURCE_EXHAUSTED", "m"),
        (Stopped("DRAINING", "m"), "Unhealthy", "UNAVAILABLE", "m"),
        (Unauthenticated("ANY", "m"), "Validation", "UNAUTHENTICATED", "No valid auth token"),
        (EngineFailure("ANY", "m"), "Backend", "FAILED_PRECONDITION", "Backend error: m"),
        (Expired("ANY", "m"), "Overloaded", "DEADLINE_EXCEEDED", "m"),
        (NotFound("ANY", "m"), "Backend", "NOT_FOUND", "m"),
    ],
)
def test_every_kind_of_error(error: GemwireError, kind: str, code: str, message: str) -> None:
    assert worded(error) == Worded(ErrorType(kind), code, message)
    assert TeiV1.wording(error) == (code, message)


def test_bytes_that_are_no_message() -> None:
    error = InvalidInput("MALFORMED_MESSAGE", "m")
    assert TeiV1.wording(error) == ("INTERNAL", "failed to decode Protobuf message: m")
