"""A server under test: a process as users start it, with the fake device or the real one."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from faults.books import Metrics, read_metrics
from faults.controls import FOLDER_VARIABLE, Controls
from faults.processes import Usage, descendants, has_open, listens, usage
from uninstalled import environment

ENGINES = ("thread", "process")
START_SECONDS = 60.0


@dataclass
class UnderTest:
    """A running server; `log` is the file that its stderr goes to."""

    process: "subprocess.Popen[str]"
    address: str
    metrics_url: str
    controls: Controls
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def children(self) -> list[int]:
        """The processes that the server started, and their descendants."""
        return descendants(self.pid)

    def usage(self) -> Usage:
        """What the server and its children hold."""
        return usage([self.pid, *self.children()])

    def engine_pid(self) -> int:
        """The process that computes."""
        log = self.controls.folder / "computed"
        found = [pid for pid in [self.pid, *self.children()] if has_open(pid, log)]
        assert len(found) == 1, f"{len(found)} processes compute"
        return found[0]

    def engine_pids(self) -> list[int]:
        """The processes that are engines."""
        found = []
        for pid in self.children():
            with suppress(OSError):  # it has ended meanwhile
                if "\0engine\0" in Path(f"/proc/{pid}/cmdline").read_text():
                    found.append(pid)
        return found

    def front_pids(self) -> list[int]:
        """The processes that listen."""
        port = int(self.address.rpartition(":")[2])
        return [pid for pid in [self.pid, *self.children()] if listens(pid, port)]

    def metrics(self) -> Metrics:
        return read_metrics(self.metrics_url)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def under_test(
    checkpoint: Path,
    *flags: str,
    engine: str = "process",
    fake: bool = True,
    settings: Mapping[str, float] | None = None,
) -> Iterator[UnderTest]:
    """A server on any port of 127.0.0.1, ready to serve; killed, if it still runs, at exit.

    `settings` are those of `Controls`.
    """
    with tempfile.TemporaryDirectory(prefix="gemwire-faults-") as folder:
        controls = Controls(Path(folder))
        controls.set(**settings or {})
        log = Path(folder) / "log"
        started = ["faults.server"] if fake else ["gemwire_server", "serve"]
        command = [sys.executable, "-m", *started, "--model", str(checkpoint)]
        command += ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"]
        command += ["--engine", engine, "--log-level", "warning", *flags]
        environ = environment({FOLDER_VARIABLE: folder})
        with log.open("w") as stderr:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environ
            )
        children: list[int] = []
        try:
            address, metrics = _addresses(process, log)
            under = UnderTest(process, address, metrics, controls, log)
            yield under
            children = under.children()
        finally:
            children = children or descendants(process.pid)
            if process.poll() is None:
                process.kill()
            process.wait()
            for child in children:  # its own, where it left them behind
                _kill(child)
            assert process.stdout is not None
            process.stdout.close()
            controls.close()


def _addresses(process: "subprocess.Popen[str]", log: Path) -> tuple[str, str]:
    """The addresses in the banner: the server's, and the one of its metrics page."""
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("  try"):
        if not (line := process.stdout.readline()):
            process.wait(START_SECONDS)
            raise AssertionError(f"the server did not start: {log.read_text()[-2000:]}")
        lines.append(line)
    metrics = next(line for line in lines if line.startswith("  metrics"))
    return lines[0].split()[-1], metrics.split()[-1]


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def check_books(server: UnderTest, seconds: float = 10.0) -> None:
    """Asserts that the counters balance once the last calls have ended."""
    give_up = time.monotonic() + seconds
    while imbalances := server.metrics().imbalances():
        assert time.monotonic() < give_up, imbalances
        time.sleep(0.05)
