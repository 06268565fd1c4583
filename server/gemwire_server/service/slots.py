"""A limited number of places for texts, shared by callers."""

import asyncio

from gemwire_server.engine.fair_queue import FairQueue


class Slots:
    """Callers that wait take turns by tokens; the calls of a caller go in order of arrival. For one event
    loop."""

    def __init__(self, limit: int) -> None:
        self.free = limit
        """Slots that no text holds."""
        self._turns = FairQueue[int]()
        # Tokens by future by caller; bounded by the open calls, each of which waits for one slot at a time.
        self._waiting: dict[int, dict[asyncio.Future[None], int]] = {}

    async def take(self, caller: int, tokens: int) -> None:
        """Returns once a text of this caller and length has a slot, which `give_back` ends."""
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, {})[taken] = tokens
        self._turns.join(caller)
        self._hand_out()
        try:
            await taken
        except asyncio.CancelledError:
            if not taken.cancelled():
                self.give_back()  # the cancellation came after the slot
            elif taken in self._waiting.get(caller, ()):
                self._forget(caller, taken)
            raise

    def give_back(self) -> None:
        """Ends what `take` began."""
        self.free += 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self.free and self._turns.has_turn:
            caller = self._turns.first()
            taken, tokens = next(iter(self._waiting[caller].items()))
            self._turns.take(caller, tokens)
            self._forget(caller, taken)
            if not taken.cancelled():
                self.free -= 1
                taken.set_result(None)

    def _forget(self, caller: int, taken: asyncio.Future[None]) -> None:
        waiting = self._waiting[caller]
        del waiting[taken]
        if not waiting:
            del self._waiting[caller]
            self._turns.leave(caller)
