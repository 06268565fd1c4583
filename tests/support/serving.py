"""A server started as a user starts it: the command, in a process."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WAIT = 60.0


@contextmanager
def serving(
    checkpoint: Path, *flags: str
) -> Iterator[tuple["subprocess.Popen[str]", str, list[str]]]:
    """The process, its address, and the lines it printed until it served."""
    command = [sys.executable, "-m", "gemwire_server", "serve", "--model", str(checkpoint)]
    process = subprocess.Popen(
        [*command, "--address", "127.0.0.1:0", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines: list[str] = []
        while not lines or not lines[-1].strip().startswith("try"):
            line = process.stdout.readline()
            assert line, f"it ended: {process.communicate(timeout=WAIT)[1]}"
            lines.append(line)
        yield process, lines[0].split()[-1], lines
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
