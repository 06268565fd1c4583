"""When a refused caller should come back."""

import random

from gemwire_server.errors import GemwireError, Overloaded, Stopped

# Callers that were refused together must not come back together.
JITTER = 0.2


def retry_delay(error: GemwireError) -> float | None:
    """Seconds after which the caller should try again, varied by a fifth; None where that does not help."""
    if not isinstance(error, Overloaded | Stopped):
        return None
    return error.retry_after * random.uniform(1 - JITTER, 1 + JITTER)
