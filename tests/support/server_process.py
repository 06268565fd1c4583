"""A server in a process of its own, whose memory and sockets a test can look at."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.calling import command
from uninstalled import environment

WAIT = 60.0


@dataclass
class ServerProcess:
    """`address`, `admin` and `http` are the addresses taken; those that were not asked for are empty."""

    process: "subprocess.Popen[str]"
    address: str
    admin: str
    http: str = ""
    is_draining: bool = False

    def drain(self) -> None:
        """Sends SIGTERM, once: a second SIGTERM exits immediately."""
        if not self.is_draining:
            self.is_draining = True
            self.process.terminate()

    def children(self, name: str) -> list[int]:
        """Ids of the children that run as `name`: "engine" or "front"."""
        return [
            child
            for child in _children(self.process.pid)
            if f" {name} " in Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
        ]

    def resident_mib(self) -> float:
        """Resident memory of the server and its children, in MiB."""
        pages = 0
        for pid in [self.process.pid, *_children(self.process.pid)]:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def server_process(
    checkpoint: Path,
    *flags: str,
    engine: str = "thread",
    environ: Mapping[str, str] | None = None,
) -> Iterator[ServerProcess]:
    """Serves until the block ends, then drains."""
    arguments = ["serve", "--model", str(checkpoint), "--address", "127.0.0.1:0", *flags]
    process = subprocess.Popen(
        command(*arguments, "--engine", engine),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(environ),
    )
    assert process.stdout is not None
    try:
        said = ""
        while "  try  " not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        address = re.search(r"serves \S+ on (\S+)", said)
        admin = re.search(r"health and reflection on (\S+)", said)
        http = re.search(r"HTTP on (\S+)", said)
        assert address is not None
        server = ServerProcess(
            process, address[1], admin[1] if admin else "", http[1] if http else ""
        )
        yield server
        server.drain()
        process.communicate(timeout=WAIT)
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
