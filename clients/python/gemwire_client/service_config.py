"""How channels behave: what gRPC itself retries, keepalive, sizes.

Every method is free of side effects, so a unary call that met a server that went away is made again.
CANCELLED is among the codes for that: a server built on gRPC's core says it, not UNAVAILABLE, to a call
that arrives in the moment it stops (grpc#41785). What the caller cancels is not tried again whatever stands
here. An overloaded server is another matter: only the client, which reads RetryInfo, asks it again
(`Patience`).
"""

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gemwire_client.errors import REQUEST_TOO_LARGE, GemwireError, Overloaded, Unavailable

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
    """Options of a channel; `extra` ones win."""
    options = {
        "grpc.service_config": json.dumps(SERVICE_CONFIG),
        "grpc.enable_retries": 1,
        # 1,024 vectors are 3 MB, and the caller asked for them.
        "grpc.max_receive_message_length": -1,
        "grpc.max_send_message_length": -1,
        "grpc.keepalive_time_ms": 60_000,
        "grpc.keepalive_timeout_ms": 20_000,
        # gRPC would ask even for this machine's own addresses through $http_proxy.
        "grpc.enable_http_proxy": 0 if THIS_MACHINE.fullmatch(address) else 1,
    }
    return list((options | dict(extra)).items())


@dataclass(frozen=True, slots=True)
class Patience:
    """When to ask again a server that has no room, or one that went away in the middle of a stream."""

    attempts: int = 5
    longest_pause: float = 60.0

    def backoff(self, failures: int) -> float:
        """Seconds to wait for a server that is away, after that many failures in a row."""
        return float(min(0.1 * 2**failures, 5.0) * random.uniform(1.0, 1.3))

    def pause(self, error: GemwireError, attempt: int, remaining: float) -> float | None:
        """Seconds to wait before attempt `attempt` + 1, or None if there is to be none."""
        if attempt >= self.attempts or error.reason == REQUEST_TOO_LARGE:
            return None
        if isinstance(error, Overloaded):
            if error.retry_after is None:
                return None
            pause = error.retry_after
        elif isinstance(error, Unavailable):
            pause = max(error.retry_after or 0.0, 0.1 * 2**attempt)
        else:
            return None
        # Callers that were refused together must not come back together.
        pause *= random.uniform(1.0, 1.3)
        return pause if pause < min(remaining, self.longest_pause) else None
