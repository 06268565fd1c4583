"""Starts a server as users do, as a process of its own."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Server:
    pid: int
    address: str


@contextmanager
def server_process(
    checkpoint: Path, *flags: str, nice: int = 0, environ: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Serves on any free port of 127.0.0.1; yields the ready server, and stops it at exit.

    `environ` takes the place of this process's environment.
    """
    command = [
        "nice",
        "-n",
        str(nice),
        sys.executable,
        "-m",
        "gemwire_server",
        "serve",
        "--model",
        str(checkpoint),
    ]
    process = subprocess.Popen(
        [*command, "--address", "127.0.0.1:0", "--log-level", "warning", *flags],
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    )
    try:
        assert process.stdout is not None
        if not (banner := process.stdout.readline()):
            raise SystemExit("the server did not start")
        yield Server(process.pid, banner.split()[-1])
    finally:
        process.terminate()
        process.communicate()
