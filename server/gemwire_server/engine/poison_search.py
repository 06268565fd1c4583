"""Which of a batch's texts make its step fail: found by halves, so that the others are served. Pure."""

from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class PoisonSearch(Generic[T]):
    """The texts of a step that failed, narrowed down by further steps.

    `probe` is what to try next, nothing once all is known. One culprit among 64 is found in at most seven
    steps, those included that compute the other 63: a half that works is done, the other is suspected
    without another try.
    """

    def __init__(self, failed: Sequence[T]) -> None:
        self._suspected = list(failed)
        self._unsuspected: list[T] = []  # of a failed step, but for a half that failed by itself
        self._failures = 1
        self.probe: list[T] = []
        self._guilty: list[T] = []
        self._choose()

    def unresolved(self) -> list[T]:
        """All that are neither computed nor found out."""
        return self._suspected + self._unsuspected if self._suspected else list(self.probe)

    def take_guilty(self) -> list[T]:
        """Those found, by a failure or by what passed without them, since this was called last."""
        guilty, self._guilty = self._guilty, []
        return guilty

    def forget(self, gone: Sequence[T]) -> None:
        """Leaves out some that nobody waits for any more; the culprit may have been among them. Not
        while the probe is tried."""
        left = {id(item) for item in gone}
        rest = self._unsuspected if self._suspected else self.probe
        self._suspected = [item for item in self._suspected if id(item) not in left]
        self._unsuspected = [item for item in rest if id(item) not in left]
        self._failures = min(self._failures, 1)
        self._choose()

    def passed(self) -> None:
        """The probe was computed."""
        if self.probe == self._suspected:  # it failed among others and works alone
            self._suspected = []
        else:
            self._suspected = self._suspected[len(self.probe) :]
        self._choose()

    def failed(self) -> None:
        """The probe's step failed too."""
        self._failures += 1
        if not self._suspected:  # there is another one among those that nothing was said against
            self._suspected = self.probe
        elif len(self.probe) == len(self._suspected):
            self._convict()
        else:
            self._unsuspected += self._suspected[len(self.probe) :]
            self._suspected = self.probe
            if len(self.probe) == 1:
                self._convict()
        self._choose()

    def _convict(self) -> None:
        self._guilty += self._suspected
        self._suspected = []

    def _choose(self) -> None:
        # The last of those that failed, twice or more, without each of the others that were with it.
        if len(self._suspected) == 1 and self._failures > 1:
            self._convict()
        if self._suspected:
            self.probe = self._suspected[: (len(self._suspected) + 1) // 2]
        else:
            self.probe, self._unsuspected = self._unsuspected, []
            self._failures = 0
