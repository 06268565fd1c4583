"""Texts that may have killed an engine, and those that did.

A text that was being computed when an engine died of itself is suspected: from then on it is computed
alone. One that was alone when the engine died is convicted, and never computed again. Bounded, and
forgotten after a while: a fault that is mended must not keep a text out for ever. Keeps digests, no texts.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from hashlib import blake2b

from gemwire_server.engine.packing import TokenIds

REMEMBERED = 4096
SUSPECT_SECONDS = 600.0
CONVICT_SECONDS = 24 * 3600.0


def digest(ids: TokenIds) -> str:
    """Names a text without telling it."""
    return blake2b(ids.tobytes(), digest_size=16).hexdigest()


class Quarantine:
    """What the fronts keep; they are told by the supervisor."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[str, tuple[float, bool]] = OrderedDict()  # and whether convicted

    def __bool__(self) -> bool:
        """Whether it holds anything, so that texts need be looked at."""
        return bool(self._until)

    def add(self, digests: Iterable[str], *, convicted: bool) -> None:
        until = self._clock() + (CONVICT_SECONDS if convicted else SUSPECT_SECONDS)
        for name in digests:
            if convicted or not self.is_convicted(name):
                self._until.pop(name, None)
                self._until[name] = until, convicted
        while len(self._until) > REMEMBERED:
            self._until.popitem(last=False)

    def clear(self, name: str) -> None:
        """It was computed, and the engine lives."""
        self._until.pop(name, None)

    def is_suspected(self, name: str) -> bool:
        return self._get(name) is not None

    def is_convicted(self, name: str) -> bool:
        return bool(self._get(name))

    def _get(self, name: str) -> bool | None:
        found = self._until.get(name)
        if found is None:
            return None
        until, convicted = found
        if self._clock() >= until:
            del self._until[name]
            return None
        return convicted
