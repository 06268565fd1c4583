"""The sentence-transformers side of a checkpoint: modules.json and the files it names.

A module or setting that is not implemented is refused by name: serving without it would give other
vectors than the checkpoint's author meant.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemwire_server.errors import CheckpointError
from gemwire_server.prompts import PromptTable

IDENTITY = ("torch.nn.modules.linear.Identity", "torch.nn.Identity")
# Defaults of newer sentence-transformers, written out; any other value is another pipeline.
NAMES = {
    "module_input_name": ("token_embeddings", "sentence_embedding", None),
    "module_output_name": ("token_embeddings", "sentence_embedding", None),
}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What modules.json says: the encoder's folder, its window, whether texts are read in small
    letters, the Dense folders in order, and the folders of all modules."""

    encoder: Path
    max_seq_length: int | None
    lower: bool
    dense: tuple[Path, ...]
    folders: tuple[Path, ...]


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; CheckpointError if there is none."""
    value = _load(path)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: a JSON object is expected")
    return value


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is missing: the sentence-transformers layout is expected"
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from None


def read_pipeline(directory: Path) -> Pipeline:
    """Reads modules.json: Transformer, Pooling, any number of Dense, Normalize."""
    where = directory / "modules.json"
    modules = _load(where)
    try:
        entries = [
            (module["type"], directory / module["path"])
            for module in sorted(modules, key=lambda module: module["idx"])
        ]
    except (TypeError, KeyError):
        raise CheckpointError(f"{where}: a list of {{idx, name, path, type}} is expected") from None
    kinds = []
    for name, _ in entries:
        package, _, kind = name.rpartition(".")
        if package.split(".")[0] != "sentence_transformers" or kind not in (
            "Transformer", "Pooling", "Dense", "Normalize",
        ):  # fmt: skip
            raise CheckpointError(f"{where}: module {name} is not implemented")
        kinds.append(kind)
    if kinds != ["Transformer", "Pooling", *["Dense"] * (len(kinds) - 3), "Normalize"]:
        raise CheckpointError(
            f"{where}: the modules are {', '.join(kinds)}; only Transformer, Pooling, any number of Dense "
            "and Normalize, in this order, are implemented"
        )
    folders = [folder for _, folder in entries]
    _check_pooling(folders[1] / "config.json")
    for folder in folders[2:-1]:
        _check_dense(folder / "config.json")
    length, lower = _read_transformer(folders[0])
    return Pipeline(
        encoder=folders[0],
        max_seq_length=length,
        lower=lower,
        dense=tuple(folders[2:-1]),
        folders=tuple(folder for folder in folders if folder.exists()),
    )


def _read_transformer(encoder: Path) -> tuple[int | None, bool]:
    """max_seq_length and do_lower_case."""
    path = encoder / "sentence_bert_config.json"
    if not path.exists():
        return None, False
    raw = read_json(path)
    for key in sorted(set(raw) - {"max_seq_length", "do_lower_case"}):
        if raw[key]:
            raise CheckpointError(f"{path}: {key} {raw[key]!r} is not implemented")
    length = raw.get("max_seq_length")
    if length is not None and not (isinstance(length, int) and length > 2):
        raise CheckpointError(
            f"{path}: max_seq_length is {length!r}: a number of tokens is expected"
        )
    return length, bool(raw.get("do_lower_case"))


def _check_pooling(path: Path) -> None:
    raw = read_json(path)
    flags = sorted(key for key in raw if key.startswith("pooling_mode_") and raw[key])
    mode = raw.get("pooling_mode", flags)  # one name (newer) or one true flag (older)
    if mode not in ("mean", ["mean"], ["pooling_mode_mean_tokens"]):
        raise CheckpointError(f"{path}: pooling {mode} is not implemented; only the mean is")
    if raw.get("include_prompt", True) is not True:
        raise CheckpointError(f"{path}: include_prompt false is not implemented")


def _check_dense(path: Path) -> None:
    raw = read_json(path)
    if raw.get("activation_function") not in IDENTITY:
        raise CheckpointError(
            f"{path}: activation_function {raw.get('activation_function')!r} is not implemented; "
            f"only {IDENTITY[0]} is"
        )
    if raw.get("bias", True):
        raise CheckpointError(f"{path}: bias is not implemented")
    for key, value in raw.items():
        if key in ("in_features", "out_features", "activation_function", "bias"):
            continue
        if key in NAMES and value in NAMES[key]:
            continue
        if value not in (None, False):
            raise CheckpointError(f"{path}: {key} {value!r} is not implemented")


def read_prompts(directory: Path) -> PromptTable:
    """The prompt table of config_sentence_transformers.json."""
    path = directory / "config_sentence_transformers.json"
    if not path.exists():
        return PromptTable({})
    raw = read_json(path)
    if raw.get("similarity_fn_name", "cosine") not in ("cosine", "dot", None):
        raise CheckpointError(
            f"{path}: similarity {raw['similarity_fn_name']} is not implemented; cosine is"
        )
    known = {"__version__", "model_type", "prompts", "default_prompt_name", "similarity_fn_name"}
    for key in sorted(set(raw) - known):
        if raw[key] is not None:
            raise CheckpointError(f"{path}: {key} {raw[key]!r} is not implemented")
    prompts = raw.get("prompts") or {}
    default = raw.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise CheckpointError(f"{path}: default_prompt_name {default!r} is not in its prompts")
    return PromptTable(prompts, prompts[default] if default is not None else "")
