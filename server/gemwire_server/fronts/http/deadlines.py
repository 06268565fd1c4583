"""The time that a client gives its request in a header."""

import math
from collections.abc import Mapping

# Header: its unit in seconds, and how much more the time may be than the header says. Envoy's proxies send
# the first header, OpenAI's library for Python the second, and the one for JavaScript the third, as whole
# seconds rounded down.
UNITS = {
    "x-envoy-expected-rq-timeout-ms": (0.001, 0.0),
    "x-stainless-read-timeout": (1.0, 0.0),
    "x-stainless-timeout": (1.0, 1.0),
}
LONGEST_SECONDS = 86400.0


def timeout_of(headers: Mapping[str, str]) -> float | None:
    """Seconds, the least that a header has; None without one. What is not a time is ignored."""
    found = None
    for name, (unit, rounding) in UNITS.items():
        if (value := headers.get(name)) is not None:
            seconds = _number(value) * unit
            if 0 < seconds <= LONGEST_SECONDS and (found is None or seconds + rounding < found):
                found = seconds + rounding
    return found


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan
