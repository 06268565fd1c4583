"""The metrics of all processes of a server on one page; files in a folder while the server runs."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from gemwire_server.observe.metrics import SupervisorMetrics
from gemwire_server.observe.metrics_files import SharedMetrics, keep_in_files
from gemwire_server.observe.metrics_page import MetricsPage

PREFIX = "gemwire-metrics-"


class ServerMetrics:
    """The supervisor's own metrics, about its children, and the page with those of all processes."""

    def __init__(self, address: str, is_ready: Callable[[], bool]) -> None:
        """Raises OSError if the address cannot be had."""
        _sweep()
        self.folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
        try:
            keep_in_files(self.folder, "supervisor")
            self._shared = SharedMetrics(self.folder)
            self._page = MetricsPage(address, self._shared.registry, is_ready)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self._parts = SupervisorMetrics(CollectorRegistry())
        self.address = self._page.address

    def engines_serving(self, count: int) -> None:
        self._parts.engines_serving(count)

    def child_died(self, part: str, index: int, reason: str) -> None:
        """A process has ended, `part` "engine" or "front", and another one is to take its place."""
        self._shared.process_died(f"{part}{index}")
        self._parts.restarted(part, reason)

    def close(self) -> None:
        self._page.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _sweep() -> None:
    """Removes the folders of supervisors that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)  # another user's stays
