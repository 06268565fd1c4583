"""Where streams wait for room in the queue."""

import asyncio


class QueueSpace:
    """Who waits is woken, in order of arrival, as texts of this process leave the queue.

    No more are woken than what left makes room for: a hundred streams must not all try for one place.
    What other processes took out of the queue is not seen here, so nobody waits for long.
    """

    def __init__(self) -> None:
        self._waiting: dict[
            asyncio.Future[None], int
        ] = {}  # tokens; bounded by the streams' credit

    async def wait(self, tokens: int, seconds: float) -> None:
        """Until there may be room for so many tokens, and no longer than `seconds`."""
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
