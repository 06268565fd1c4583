"""Starts programs of this source tree, whether it is installed or not."""

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("proto", "server", "kernels", "clients/python", "benchmarks")


def environment(extra: Mapping[str, str] | None = None, tree: Path = ROOT) -> dict[str, str]:
    """Returns this process's environment without gemwire's own variables, and a tree on PYTHONPATH."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GEMWIRE_")}
    paths = [str(tree / folder) for folder in FOLDERS]
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), **(extra or {})}
