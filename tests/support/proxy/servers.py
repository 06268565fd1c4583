"""Servers behind a proxy: each can be killed or drained, and comes back at its addresses."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from faults.under_test import UnderTest, under_test

ANY_PORT = "127.0.0.1:0"
SETTINGS = {"step_seconds": 0.02}


class Servers:
    """Two of them, with the fake device: the same text has the same vector in both, and ever again.

    `metrics` are the ports of their metrics pages, which have /readyz.
    """

    def __init__(self, checkpoint: Path, stack: ExitStack) -> None:
        self._checkpoint = checkpoint
        self._stack = stack
        self._running = [self._start(ANY_PORT, ANY_PORT) for _ in range(2)]
        started = [server for _, server in self._running]
        self.addresses = [server.address for server in started]
        self.metrics = [server.metrics_url.split(":")[2].split("/")[0] for server in started]

    def kill(self, place: int) -> None:
        """Kills the server, as a kernel without memory does."""
        server = self._running[place][1]
        for pid in [server.pid, *server.children()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        server.process.wait()

    def drain(self, place: int) -> None:
        """Drains the server, as an orchestrator does, and waits for its end."""
        server = self._running[place][1]
        server.terminate()
        assert server.process.wait(60) == 0

    def restart(self, place: int) -> None:
        """Starts another process at the same addresses, and waits until it serves."""
        self._running[place][0].close()
        metrics = f"127.0.0.1:{self.metrics[place]}"
        self._running[place] = self._start(self.addresses[place], metrics)

    def wait_for_calls(self, place: int) -> None:
        """Waits until the server has embedded a text for a caller."""
        give_up = time.monotonic() + 30.0
        while (
            not self._running[place][1].metrics().sum("gemwire_calls_started_total", method="Embed")
        ):
            assert time.monotonic() < give_up, "nobody asks this server"
            time.sleep(0.05)

    def _start(self, address: str, metrics: str) -> tuple[ExitStack, UnderTest]:
        own = self._stack.enter_context(ExitStack())
        flags = ["--address", address, "--metrics-address", metrics]
        started = under_test(self._checkpoint, *flags, engine="thread", settings=SETTINGS)
        return own, own.enter_context(started)


@contextmanager
def two_servers(checkpoint: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(checkpoint, stack)
