"""Isolates by bisection the texts that make a step fail, so that the others are served. Pure."""

from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class PoisonSearch(Generic[T]):
    """Searches the texts of a failed step by running parts of it again.

    `probe` is the part to run next, empty once every text is decided on. The search finds one culprit among
    64 texts in at most seven steps, including those that compute the other 63: a half that works is done,
    and the other half is suspected without another step.
    """

    def __init__(self, failed: Sequence[T]) -> None:
        self._suspected = list(failed)
        self._unsuspected: list[T] = []  # failed only together with texts that failed without them
        self._failures = 1
        self.probe: list[T] = []
        self._guilty: list[T] = []
        self._choose()

    def unresolved(self) -> list[T]:
        """The texts that are neither computed nor found guilty."""
        return self._suspected + self._unsuspected if self._suspected else list(self.probe)

    def take_guilty(self) -> list[T]:
        """The texts found guilty since the last call."""
        guilty, self._guilty = self._guilty, []
        return guilty

    def forget(self, gone: Sequence[T]) -> None:
        """Leaves out texts that no caller waits for any more; the culprit may have been among them. Must
        not be called while the probe runs."""
        left = {id(item) for item in gone}
        rest = self._unsuspected if self._suspected else self.probe
        self._suspected = [item for item in self._suspected if id(item) not in left]
        self._unsuspected = [item for item in rest if id(item) not in left]
        self._failures = min(self._failures, 1)
        self._choose()

    def passed(self) -> None:
        """The probe was computed."""
        if self.probe == self._suspected:  # together they failed only with other texts
            self._suspected = []
        else:
            self._suspected = self._suspected[len(self.probe) :]
        self._choose()

    def failed(self) -> None:
        """The probe's step failed too."""
        self._failures += 1
        if not self._suspected:  # another culprit is among the unsuspected
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
        # It failed twice or more, and every other text of those steps was cleared or found guilty.
        if len(self._suspected) == 1 and self._failures > 1:
            self._convict()
        if self._suspected:
            self.probe = self._suspected[: (len(self._suspected) + 1) // 2]
        else:
            self.probe, self._unsuspected = self._unsuspected, []
            self._failures = 0
