"""Settings of channels: keepalive, sizes, and the calls that gRPC itself retries.

`SERVICE_CONFIG` is the file service_config.json beside the .proto, which clients in any language may
load. It is for clients that use the stubs alone. No method has side effects, so gRPC retries a unary
call whose server went away. It stops where most calls fail: retries must not become the load. CANCELLED
is among the codes: a server built on gRPC's core sends it, not UNAVAILABLE, to a call that
arrives in the moment the server stops (grpc#41785). gRPC never retries a call that the caller has
cancelled. This library's own clients do not use these retries: gRPC decides by the code alone, and a
proxy's time limit has the code of a server that went away (`patience`).
"""

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

SERVICE_CONFIG: dict[str, Any] = json.loads(
    files("gemwire.v1").joinpath("service_config.json").read_text("utf-8")
)
THIS_MACHINE = re.compile(r"(dns:/*)?(localhost|127\.[\d.]+|\[::1\]):\d+")


def channel_options(address: str, extra: Sequence[tuple[str, Any]] = ()) -> list[tuple[str, Any]]:
    """The options of a channel; `extra` options win."""
    options = {
        "grpc.service_config": json.dumps(SERVICE_CONFIG),
        "grpc.enable_retries": 1,
        # 1,024 vectors are 3 MB, and the caller asked for them.
        "grpc.max_receive_message_length": -1,
        "grpc.max_send_message_length": -1,
        "grpc.keepalive_time_ms": 60_000,
        "grpc.keepalive_timeout_ms": 20_000,
        # gRPC would reach even this machine's own addresses through $http_proxy.
        "grpc.enable_http_proxy": 0 if THIS_MACHINE.fullmatch(address) else 1,
    }
    return list((options | dict(extra)).items())
