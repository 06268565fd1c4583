"""Keeps files that take long to write and depend on the checkpoint alone."""

from collections.abc import Callable
from pathlib import Path
from shutil import rmtree


def kept(folder: Path, write: Callable[[Path], None]) -> Path:
    """Returns the folder. `write` fills a missing one under another name, so that half of a folder
    never looks whole.
    """
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.part")
        rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write(partial)
        partial.replace(folder)
    return folder
