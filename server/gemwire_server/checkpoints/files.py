"""Finds the files that a checkpoint's vectors depend on."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from gemwire_server.errors import CheckpointError

INDEX = "model.safetensors.index.json"
SUFFIXES = (".json", ".safetensors", ".model")


def weight_files(folder: Path) -> list[Path]:
    """Returns model.safetensors, or the shards that its index names. Raises CheckpointError."""
    index = folder / INDEX
    if (single := folder / "model.safetensors").exists():
        return [single]
    if not index.exists():
        raise CheckpointError(
            f"{folder}: neither model.safetensors nor an index of shards; other weight files are not "
            "read: save the model again with save_pretrained and safe_serialization"
        )
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        shards = sorted(folder / name for name in names)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CheckpointError(
            f"{index}: damaged: a JSON object is expected, whose weight_map has a file for each tensor"
        ) from None
    if not shards:
        raise CheckpointError(f"{index} names no files")
    for shard in shards:
        if not shard.exists():
            raise CheckpointError(f"{shard} is missing; {index.name} names it")
    return shards


def digest(root: Path, modules: Iterable[Path]) -> str:
    """Returns a digest of the names and the content of the files in `root` and in the modules' folders.

    Files, and folders on the way to them, may be links. Other folders below `root` do not count. The
    function reads all files.
    """
    paths = set[Path]()
    for folder in {root, *modules}:
        paths |= {path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file()}
        if (folder / INDEX).exists():
            paths |= set(weight_files(folder))  # an index may name files of other folders
    whole = hashlib.sha256()
    # Two files may have one name: "link/../1_Dense" is another folder than "1_Dense".
    for name, path in sorted((os.path.relpath(path, root), path) for path in paths):
        with path.open("rb") as file:
            whole.update(name.encode())
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256-{whole.hexdigest()[:16]}"
