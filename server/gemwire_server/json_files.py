"""Reads the JSON files of a checkpoint."""

import json
from pathlib import Path
from typing import Any

from gemwire_server.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises CheckpointError if there is none."""
    value = load_json(path)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: a JSON object is expected")
    return value


def read_json_if_there(path: Path) -> dict[str, Any]:
    """Like `read_json`, but an empty object if there is no file."""
    return read_json(path) if path.exists() else {}


def load_json(path: Path) -> Any:
    """The JSON value in a file. Raises CheckpointError if there is none."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is missing: a folder is expected as SentenceTransformer(...).save_pretrained "
            "writes it"
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from None
