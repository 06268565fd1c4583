"""A refusal as a client sees it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

WAIT = 60.0
NONE = "-"
"""Stands in the page's table where there is no code, no reason or no detail."""
DETAILS = "grpc-status-details-bin"
PUSHBACK = "grpc-retry-pushback-ms"
REQUEST_ID = "x-request-id"


@dataclass(frozen=True)
class Refusal:
    """What the page says of a refusal, and what a client observes of it.

    `details` holds names such as "RetryInfo", "BadRequest inputs" and "pushback -1".
    """

    code: str
    reason: str = NONE
    details: frozenset[str] = frozenset()


WAITS = Refusal(NONE)
"""The call is not refused: gRPC holds it back in the client."""


def refused(call: Any) -> Refusal:
    """How a unary call ends, which is given as a future. It must fail."""
    error = call.exception(timeout=WAIT)
    assert error is not None, "the call was answered"
    return of_call(error)


def refused_stream(call: Any) -> Refusal:
    """How a stream ends, read to its end. It must fail."""
    try:
        for _ in call:
            pass
    except grpc.RpcError as error:
        return of_call(error)
    raise AssertionError("the stream ended with OK")


def of_call(error: grpc.RpcError) -> Refusal:
    """The refusal of a whole call, its trailers included."""
    assert isinstance(error, grpc.Call)
    trailers = {key: value for key, value in error.trailing_metadata() or ()}
    raw = trailers.get(DETAILS)
    if raw is None:
        assert PUSHBACK not in trailers
        return Refusal(error.code().name)
    assert isinstance(raw, bytes) and trailers[REQUEST_ID]
    status = Status.FromString(raw)
    assert status.code == error.code().value[0] and status.message == error.details()
    return _refusal(status, trailers.get(PUSHBACK))


def of_text(status: Status) -> Refusal:
    """The refusal of one text among others."""
    return _refusal(status, None)


def of_texts(results: Iterable[Any]) -> list[Refusal | None]:
    """For each result its refusal; None for a text that has its vector."""
    return [of_text(one.error) if one.HasField("error") else None for one in results]


def _refusal(status: Status, pushback: Any) -> Refusal:
    found: set[str] = set()
    info = error_details_pb2.ErrorInfo()
    delay_ms = -1.0
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        quota = error_details_pb2.QuotaFailure()
        if detail.Unpack(bad):
            (violation,) = bad.field_violations
            assert violation.reason == info.reason
            found.add(f"BadRequest {violation.field}")
        elif detail.Unpack(retry):
            delay_ms = retry.retry_delay.ToTimedelta().total_seconds() * 1000
            found.add("RetryInfo")
        elif detail.Unpack(quota):
            found.add("QuotaFailure")
        else:
            assert detail.Unpack(info)
    assert info.domain == "gemwire.dev"
    if pushback is not None:
        # gRPC's own retries wait as long as RetryInfo says; a negative number forbids them.
        assert -1 <= int(pushback) - delay_ms <= 1
        found.add("pushback -1" if int(pushback) == -1 else "pushback")
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    return Refusal(code.name, info.reason, frozenset(found))
