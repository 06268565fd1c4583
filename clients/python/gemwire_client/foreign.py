"""Failed calls → errors. What the server itself says has its details; all else is foreign: a proxy or
gRPC speaks in the server's place, because there is no connection to it any more, or for too long no answer.

No proxy documents what it says: tests/deploy/proxy shows it for Envoy, docs/proxies.md for others.
"""

import re

import grpc
from google.rpc.status_pb2 import Status

from gemwire_client.errors import (
    DETAILS_KEY,
    DOMAIN,
    TYPES,
    ConnectionLost,
    GemwireError,
    ProxyTimeout,
    error_info,
    from_status,
)

LOST = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
}
# Of this process: it could not read or write a message, or make anything of the address. To try again
# would not help.
OWN = ("Exception serializing", "Exception deserializing", "Failed to create channel")
# What gRPC says of a call that was cut while its connection stands.
RESET = re.compile(r"RST_STREAM|END_STREAM")
# Details of UNAVAILABLE for a call that no server has begun to work on.
UNSENT = re.compile(
    r"[Ff]ailed to connect|backends failing|name resolution|DNS resolution|errors resolving"
    r"|empty address list|no healthy upstream"
    r"|connection (failure|timeout)|overflow|refused|status: (429|502|503)"
)
HTTP_STATUS = re.compile(r"Received http2 header with status: (\d{3})")
HTTP_TIMEOUTS = (408, 504)
HTTP_LOST = (429, 502, 503)
DURATION_LIMIT = "Envoy's `max_stream_duration` or `grpc_timeout_header_max`"
# Envoy's words → the setting whose limit ran out.
ENVOY_LIMITS = {
    "upstream request timeout": "Envoy's route `timeout` (15 s unless set) or `per_try_timeout`",
    "stream timeout": "Envoy's `stream_idle_timeout` (5 min unless set)",
    "downstream duration timeout": DURATION_LIMIT,
}
ANY_LIMIT = "NGINX's `grpc_read_timeout`, HAProxy's `timeout server`, Envoy's route `timeout`"


def from_rpc_error(error: grpc.RpcError) -> GemwireError:
    """Translates the exception of a failed call."""
    assert isinstance(error, grpc.Call | grpc.aio.AioRpcError)
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            status = Status.FromString(value)
            if error_info(status).domain == DOMAIN:
                return from_status(status)
    return _foreign(error.code(), error.details() or "")


def _foreign(code: grpc.StatusCode, said: str) -> GemwireError:
    """Translates a status that the server did not send: gRPC's own, or a proxy's."""
    found = HTTP_STATUS.search(said)
    http = int(found[1]) if found else 0
    quoted = f"{code.name}: {said}" if said else code.name
    if said in ENVOY_LIMITS:
        return proxy_timeout(quoted, code, ENVOY_LIMITS[said])
    if http in HTTP_TIMEOUTS:
        return proxy_timeout(quoted, code)
    if 400 <= http < 500 and http not in HTTP_LOST:
        hint = "; the request is too large for it (NGINX: client_max_body_size)" * (http == 413)
        message = f"a proxy answered in the server's place, with HTTP status {http}{hint}"
        return TYPES.get(code, GemwireError)(message, code=code)
    if code not in LOST or said.startswith(OWN):
        return TYPES.get(code, GemwireError)(said or code.name, code=code)
    lost = ConnectionLost("", code=code)
    lost.reset = bool(RESET.search(said))
    lost.in_flight = code is not grpc.StatusCode.UNAVAILABLE or not UNSENT.search(said)
    what = "the connection to the server was lost" if lost.in_flight else "no server was reached"
    lost.args = (f"{what} ({quoted})",)
    return lost


def cut(error: GemwireError) -> ConnectionLost:
    """The error of a stream that ended although the server had no reason to end it."""
    lost = ConnectionLost(f"the stream was cut ({error.code.name}: {error})", code=error.code)
    lost.reset = True
    return lost


def cut_in_vain(error: ConnectionLost, times: int) -> ConnectionLost:
    """The error of streams that are cut each time they are opened again."""
    return ConnectionLost(
        f"{times} streams in a row were cut without an answer: a proxy's limit of size or time (NGINX: "
        f"client_max_body_size), or servers that die of these texts; the last: {error}",
        code=error.code,
    )


def proxy_timeout(said: str, code: grpc.StatusCode, setting: str = ANY_LIMIT) -> ProxyTimeout:
    """The error of a time limit that is a proxy's, not the caller's."""
    return ProxyTimeout(
        f"a proxy ended the call at a time limit of its own ({said}); raise {setting}", code=code
    )
