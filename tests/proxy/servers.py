"""Servers behind a proxy: each can be killed or told to leave, and comes back at its address."""

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from faults.under_test import UnderTest, under_test

SETTINGS = {"step_seconds": 0.02}


class Servers:
    """Two of them, with the fake device: the same text has the same vector in both, and ever again."""

    def __init__(self, checkpoint: Path, stack: ExitStack) -> None:
        self._checkpoint = checkpoint
        self._stack = stack
        self._running = [self._start("127.0.0.1:0") for _ in range(2)]
        self.addresses = [server.address for _, server in self._running]

    def kill(self, place: int) -> None:
        """As the kernel does that is out of memory."""
        server = self._running[place][1]
        for pid in [server.pid, *server.children()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        server.process.wait()

    def drain(self, place: int) -> None:
        """As an orchestrator does; returns when it has ended."""
        server = self._running[place][1]
        server.terminate()
        assert server.process.wait(60) == 0

    def restart(self, place: int) -> None:
        """Another process at the same address, once it serves."""
        self._running[place][0].close()
        self._running[place] = self._start(self.addresses[place])

    def _start(self, address: str) -> tuple[ExitStack, UnderTest]:
        own = self._stack.enter_context(ExitStack())
        started = under_test(
            self._checkpoint, "--address", address, engine="thread", settings=SETTINGS
        )
        return own, own.enter_context(started)


@contextmanager
def two_servers(checkpoint: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(checkpoint, stack)
