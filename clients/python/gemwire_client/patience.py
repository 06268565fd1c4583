"""Retries: after which errors a call is made again, how often, and after which pause."""

import math
import random
import time
from dataclasses import dataclass

from gemwire_client.errors import (
    ConnectionLost,
    DeadlineExceeded,
    GemwireError,
    Overloaded,
    ProxyTimeout,
    Unavailable,
)
from gemwire_client.foreign import DURATION_LIMIT, proxy_timeout

# A call that ends with at most this share of its time left has met its own deadline. Proxies enforce
# deadlines too, and report them like their own limits. A server refuses what it could not finish in time.
ENDED = 0.05
REFUSED = 0.5


# Thirty years: gRPC's clock has an end, and a deadline beyond that end would have passed at once.
FOREVER = 1e9


def seconds(timeout: float | None) -> float | None:
    """A caller's timeout in seconds; None waits for ever. Raises ValueError for NaN."""
    if timeout is not None and math.isnan(timeout):
        raise ValueError("timeout is not a number of seconds")
    return None if timeout is None or timeout >= FOREVER else timeout


@dataclass(frozen=True, slots=True)
class Patience:
    """The retry policy for a server that has no room, or that went away."""

    attempts: int = 5
    longest_pause: float = 60.0

    def backoff(self, failures: int) -> float:
        """The backoff in seconds after that many failures in a row to reach a server."""
        return float(min(0.1 * 2 ** min(failures, 6), 5.0) * random.uniform(1.0, 1.3))

    def pause(self, error: GemwireError, attempt: int, remaining: float) -> float | None:
        """Seconds to wait before attempt `attempt` + 1; None if there must be no further attempt."""
        if attempt >= self.attempts:
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


class Tries:
    """The tries of one unary call, until its deadline.

    A server that has no room is asked as often as `Patience` allows. The client waits for a server that is
    away, if the server ever answered. A call that was lost on its way is made at most `Patience.attempts`
    times: the call itself may be what crashes the servers.
    """

    def __init__(self, patience: Patience, timeout: float | None) -> None:
        self._patience = patience
        self._timeout = timeout
        self._deadline = float("inf") if timeout is None else time.monotonic() + timeout
        self._failures = 0
        self._lost = 0

    @property
    def timeout(self) -> float | None:
        """Seconds left for the next try; None without a deadline."""
        return None if self._timeout is None else self._deadline - time.monotonic()

    def pause(self, error: GemwireError, known: bool) -> float:
        """Seconds to wait before the call is made again; raises the error if it must not be.

        `known`: a server has answered at this address before.
        """
        self._failures += 1
        remaining = self._deadline - time.monotonic()
        if isinstance(error, DeadlineExceeded):
            raise self._whose_limit(error, remaining)
        if isinstance(error, Unavailable):
            self._lost += isinstance(error, ConnectionLost) and error.in_flight
            tries = self._lost if known else self._failures
            pause = None if tries >= self._patience.attempts else self._absence(error)
        else:
            pause = self._patience.pause(error, self._failures, remaining)
        if pause is None or pause >= remaining:
            raise error
        return pause

    def _whose_limit(self, error: DeadlineExceeded, remaining: float) -> DeadlineExceeded:
        """Tells the caller's deadline from a proxy's, which a server may take for the caller's."""
        if self._timeout is None:
            own = bool(error.reason)  # the server's: --call-seconds
        else:
            own = remaining < (REFUSED if error.reason else ENDED) * self._timeout
        if own and isinstance(error, ProxyTimeout):
            return DeadlineExceeded("the time ran out", code=error.code)
        if own or isinstance(error, ProxyTimeout):
            return error
        return proxy_timeout(f"{error.code.name}: {error}", error.code, DURATION_LIMIT)

    def _absence(self, error: Unavailable) -> float:
        """The pause while no server is there: nearly none at first, for another server may answer."""
        wait = self._patience.backoff(self._failures - 1)
        return wait if self._failures == 1 else max(wait, error.retry_after or 0.0)
