"""Texts that may have killed an engine, and those that did.

A text that was being computed when an engine died of itself is suspected: from then on it is computed
alone. A text that was alone when the engine died is convicted, and not computed again. Both are bounded and
forgotten after a while: a fault that is mended must not keep a text out for ever. Holds digests, no texts.
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
    """A name of a text that does not reveal it."""
    return blake2b(ids.tobytes(), digest_size=16).hexdigest()


class Quarantine:
    """Suspected and convicted texts, by digest. Each front holds one; the supervisor fills them alike."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # By digest: when it is forgotten, whether it is convicted.
        self._until: OrderedDict[str, tuple[float, bool]] = OrderedDict()

    def __bool__(self) -> bool:
        """Whether it holds any digest; while it holds none, texts need no digest."""
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
        """Removes a suspected text that was computed while the engine lived."""
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
