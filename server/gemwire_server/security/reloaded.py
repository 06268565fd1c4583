"""A value that is read from files, and read again when they change; bad files leave the last value."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from gemwire_server.config.sources import ConfigError

log = logging.getLogger(__name__)

T = TypeVar("T")
OnBadFile = Callable[[str], None]
"""Called with the kind ("certificate" or "tokens"), once for each bad state of the files, in any thread."""


class Reloaded(Generic[T]):
    """`value` is the last good one. Thread-safe."""

    def __init__(
        self, kind: str, paths: Sequence[str], read: Callable[[], T], on_bad_file: OnBadFile
    ) -> None:
        """`read` raises ConfigError, in words that name the file and quote nothing from it, or OSError."""
        self._kind = kind
        self._paths = paths
        self._read = read
        self._on_bad_file = on_bad_file
        self._lock = threading.Lock()
        self._seen = self._stamps()
        try:
            self.value = read()
        except OSError as error:
            where = error.filename or ", ".join(paths)
            raise ConfigError(f"{kind}: {where}: {error.strerror}") from None

    def refresh(self) -> bool:
        """Looks at the files; whether there is a new value. Never raises."""
        with self._lock:
            # Before reading: what is written meanwhile shows at the next look.
            stamps = self._stamps()
            if stamps == self._seen:
                return False
            self._seen = stamps
            try:
                self.value = self._read()
            except Exception as error:
                said = error if isinstance(error, ConfigError) else _plain(error)
                log.warning("%s; the %s read before stays in use", said, self._kind)
                self._on_bad_file(self._kind)
                return False
        log.info("%s read again from %s", self._kind, ", ".join(self._paths))
        return True

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: str) -> tuple[int, int, int] | None:
    """A value that changes when the file is replaced or written to; None if there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _plain(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return type(error).__name__
