"""Cancels the work for clients that disconnect."""

import asyncio
from types import TracebackType

from gemwire_server.fronts.http.bodies import Receive

# Most answers take less. To watch from the beginning would cost each of them a task.
UNWATCHED_SECONDS = 0.005


class DisconnectWatch:
    """A block that is cancelled when the client disconnects; the request must be read."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._has_gone = False
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(UNWATCHED_SECONDS, self._begin)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._timer is not None
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def took_back(self) -> bool:
        """Whether the cancellation that came out of the block is the client's alone."""
        return self._has_gone and self._task is not None and self._task.uncancel() == 0

    def _begin(self) -> None:
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._has_gone = True
        assert self._task is not None
        self._task.cancel()
