"""Ways to call the command line."""

import subprocess
import sys
from collections.abc import Mapping

from uninstalled import environment


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gemwire_server", *arguments]


def gemwire(
    *arguments: str, input: str = "", environ: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a command in a process of its own."""
    return subprocess.run(
        command(*arguments),
        input=input,
        env=environment(environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def one_line(said: str) -> str:
    """The one line that a failed command prints, without its prefix."""
    assert said.startswith("gemwire: ") and said.count("\n") == 1, said
    return said.removeprefix("gemwire: ").rstrip("\n")
