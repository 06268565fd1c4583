"""A quota: a bucket of model tokens that fills at a steady rate."""

import asyncio
import time
from collections.abc import Callable

from gemwire_server.errors import QuotaExceeded

LONGEST_WAIT_SECONDS = 0.5  # between looks whether a waiting stream is in a hurry


class Bucket:
    """Work passes while there is anything in it, and what it takes beyond that is a debt.

    So a text longer than the burst passes too, and over time the rate holds. For one event loop.
    """

    def __init__(
        self,
        name: str,
        rate: float,
        burst: float,
        *,
        parts: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rate` in tokens a second and `burst` in tokens, both more than 0, of which this is one of
        `parts` equal ones; full at first."""
        self.name = name
        self._parts = parts
        self._clock = clock
        self._turn = asyncio.Lock()
        self._at = clock()
        self._level = burst / parts
        self.set(rate, burst)

    def set(self, rate: float, burst: float) -> None:
        """New figures for what is in it and what is owed."""
        self._whole_rate = rate
        self._rate, self._burst = rate / self._parts, burst / self._parts

    def take(self, tokens: int) -> None:
        """Takes the tokens for a call. Raises QuotaExceeded if the bucket is empty; 0 tokens only look."""
        if self._filled() <= 0:
            raise QuotaExceeded(
                "QUOTA_EXCEEDED",
                f"{self.name} has used its quota of {self._whole_rate:g} tokens a second",
                subject=self.name,
                tokens_per_second=f"{self._whole_rate:g}",
            )
        self._level -= tokens

    def give_back(self, tokens: int) -> None:
        """Returns the tokens of work that was refused after they were taken."""
        self._level = min(self._filled() + tokens, self._burst)

    async def wait(self, tokens: int, hurried: Callable[[], bool]) -> None:
        """Takes the tokens for a stream, after its turn has come and the bucket has filled."""
        async with self._turn:
            while (level := self._filled()) <= 0 and not hurried():
                await asyncio.sleep(min(-level / self._rate + 0.001, LONGEST_WAIT_SECONDS))
            self._level -= tokens

    def _filled(self) -> float:
        now = self._clock()
        self._level = min(self._level + (now - self._at) * self._rate, self._burst)
        self._at = now
        return self._level
