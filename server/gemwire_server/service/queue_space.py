"""Lets streams wait for space in the queue."""

import asyncio


class QueueSpace:
    """Wakes waiters in order of arrival as texts of this process leave the queue.

    No more are woken than the space that was freed can hold: a hundred streams must not all try for one
    place. This process does not see what other processes take out of the queue, so no wait is long.
    """

    def __init__(self) -> None:
        self._waiting: dict[
            asyncio.Future[None], int
        ] = {}  # tokens; bounded by the streams' credit

    async def wait(self, tokens: int, seconds: float) -> None:
        """Returns when there may be space for so many tokens, and after at most `seconds`."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[woken] = tokens
        try:
            await asyncio.wait([woken], timeout=seconds)
        finally:
            self._waiting.pop(woken, None)

    def freed(self, tokens: int) -> None:
        """So many tokens have left the queue."""
        while self._waiting and tokens > 0:
            woken = next(iter(self._waiting))
            tokens -= self._waiting.pop(woken)
            woken.set_result(None)
