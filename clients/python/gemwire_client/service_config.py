"""Settings of channels: keepalive, sizes, and the calls that gRPC itself retries.

`SERVICE_CONFIG` is for clients that use the stubs alone. No method has side effects, so gRPC retries a
unary call whose server went away. CANCELLED is among the codes for that: a server built on gRPC's core
sends it, not UNAVAILABLE, to a call that arrives in the moment the server stops (grpc#41785). gRPC never
retries a call that the caller has cancelled. This library's own clients do not use these retries: gRPC
decides by the code alone, and a proxy's time limit has the code of a server that went away (`patience`).
"""

import json
import re
from collections.abc import Sequence
from typing import Any

UNARY = ("Embed", "BatchEmbed", "ComputeSimilarity", "Tokenize")
SERVICE_CONFIG: dict[str, Any] = {
    "methodConfig": [
        {
            "name": [
                *({"service": "gemwire.v1.EmbeddingService", "method": method} for method in UNARY),
                {"service": "gemwire.v1.ModelService"},
            ],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    # Stops retrying where most calls fail: retries must not become the load.
    "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
    "loadBalancingConfig": [{"round_robin": {}}],
}


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
