"""Standard streams in the states a shell may leave them: closed, full, or without a reader."""

import errno
import io
import os
import sys
from typing import IO


def standard_input() -> IO[bytes]:
    """Standard input as bytes. Raises OSError if it is closed."""
    if sys.stdin is None:
        raise OSError(
            errno.EBADF, "standard input is closed: pipe something into it, or give a file"
        )
    return sys.stdin.buffer


class _Closed(io.RawIOBase):
    """Stands for a closed standard output: a write raises OSError instead of being lost silently."""

    def writable(self) -> bool:
        return True

    def write(self, _: object) -> int:
        raise OSError(errno.EBADF, "standard output is closed: give it a file, a pipe or /dev/null")


def hold_closed() -> None:
    """Occupies the numbers of closed streams, so that no opened file gets one and with it printed text."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one: the loop goes upwards.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_Closed()), "utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  as long as the process


def settle() -> None:
    """Drops output that can no longer be written: Python would try again at exit, and complain."""
    try:
        sys.stdout.flush()
        return
    except OSError:
        pass
    if isinstance(getattr(sys.stdout.buffer, "raw", None), _Closed):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  as long as the process
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
