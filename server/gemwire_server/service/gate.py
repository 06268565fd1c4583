"""The gate that every call passes: it limits the calls under way, and closes when the server drains."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gemwire_server.errors import Overloaded, Stopped


class CallGate:
    """Counts calls in one event loop."""

    def __init__(self, limit: int) -> None:
        """At most `limit` calls are under way at once."""
        self._limit = limit
        self.count = 0
        """Calls under way."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def close(self) -> None:
        """Refuses every new call from now on, with Stopped."""
        self._closed = True

    async def wait_idle(self) -> None:
        """Returns when no call is under way."""
        await self._idle.wait()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Holds a place for a call from its start to its end. Raises Stopped or Overloaded."""
        if self._closed:
            raise Stopped("DRAINING", "the server is shutting down")
        if self.count >= self._limit:
            raise Overloaded(
                "TOO_MANY_CALLS", f"{self._limit} calls are open, the limit", retry_after=1.0
            )
        self.count += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.count -= 1
            if not self.count:
                self._idle.set()
