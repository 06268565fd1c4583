"""The backoff between restarts of a child."""

import time

FIRST_SECONDS, LONGEST_SECONDS = 0.1, 10.0
# The longest backoff of a child that had started: its next start is likely to succeed.
LONGEST_OF_STARTED_SECONDS = 1.0
# After this uptime a crash is restarted without backoff.
HEALTHY_SECONDS = 30.0


class Backoff:
    """Doubles with each restart; a child that cannot even start waits longest."""

    def __init__(self) -> None:
        self._next = 0.0
        self._started: float | None = None

    def started(self) -> None:
        """The child is ready."""
        self._started = time.monotonic()

    def after_end(self) -> float:
        """Seconds to wait before the child, which has ended, is started again."""
        longest = LONGEST_SECONDS
        if self._started is not None:
            longest = LONGEST_OF_STARTED_SECONDS
            if time.monotonic() - self._started >= HEALTHY_SECONDS:
                self._next = 0.0
        self._started = None
        pause = min(self._next, longest)
        self._next = min(max(2 * self._next, FIRST_SECONDS), LONGEST_SECONDS)
        return pause
