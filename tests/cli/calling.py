"""Ways to call the command line."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATHS = [str(ROOT / folder) for folder in ("proto", "server", "kernels", "clients/python")]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This one's, without options of gemwire, and able to import it uninstalled."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GEMWIRE_")}
    paths = [*PATHS, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), **(extra or {})}


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
    """What a failed command says: one line, which is gemwire's."""
    assert said.startswith("gemwire: ") and said.count("\n") == 1, said
    return said.removeprefix("gemwire: ").rstrip("\n")
