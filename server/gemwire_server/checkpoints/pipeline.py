"""Reads modules.json of a sentence-transformers folder: the modules that a vector goes through.

Pooling takes the mean of a text's tokens, then come matrices, and a vector ends at length one. So a
factor before that end changes nothing, and matrices that follow each other are one matrix. Whatever is
not of that form is refused by name.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemwire_server.errors import CheckpointError
from gemwire_server.json_files import load_json, read_json
from gemwire_server.json_keys import Keys

# The input and output of every module after Pooling: the vector of a text.
SENTENCE = ("sentence_embedding", None)
POOLING = Keys(
    file="Pooling/config.json",
    read={"pooling_mode"}
    | {
        f"pooling_mode_{mode}"
        for mode in (
            "cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens",
            "lasttoken",
        )
    },
    fixed={"include_prompt": (True,)},
    ignored={"embedding_dimension", "word_embedding_dimension"},
)  # fmt: skip
DENSE = Keys(
    file="Dense/config.json",
    read={"in_features", "out_features", "bias", "activation_function"},
    fixed={
        "module_input_name": SENTENCE,
        "module_output_name": SENTENCE,
        "use_residual": (False, None),
    },
)
NORMALIZE = Keys(
    file="Normalize/config.json",
    read=(),
    fixed={"module_input_name": SENTENCE, "module_output_name": SENTENCE},
)
IDENTITY = ("torch.nn.modules.linear.Identity", "torch.nn.Identity")
# The mean times the root of the number of tokens has the mean's direction.
MEANS = ("mean", "mean_tokens", "mean_sqrt_len_tokens")
ORDER = "Transformer and Pooling, then Dense and Normalize in any number and order, the last a Normalize"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The modules of a checkpoint: the encoder's folder, the Dense folders in order, and all folders."""

    encoder: Path
    dense: tuple[Path, ...]
    folders: tuple[Path, ...]


def read_pipeline(directory: Path) -> Pipeline:
    """Reads modules.json and each module's config.json.

    Raises CheckpointError for modules that are not implemented, and for a PEFT adapter.
    """
    refuse_adapter(directory)
    where = directory / "modules.json"
    modules = load_json(where)
    try:
        # In the file's order, as sentence-transformers reads it: `idx` decides nothing.
        entries = [(str(m["type"]), directory / m["path"]) for m in modules]
        names = [m["name"] for m in modules]
    except (TypeError, KeyError):
        raise CheckpointError(f"{where}: a list of {{idx, name, path, type}} is expected") from None
    # Dropout does nothing where nothing is trained.
    folders = [(kind, path) for name, path in entries if (kind := _kind(where, name)) != "Dropout"]
    if len(set(names)) < len(names):
        raise CheckpointError(f"{where}: two modules have one name; only the last would be used")
    kinds = [kind for kind, _ in folders]
    after = kinds[2:]
    if kinds[:2] != ["Transformer", "Pooling"] or {"Transformer", "Pooling"} & set(after):
        raise CheckpointError(
            f"{where}: the modules are {', '.join(kinds)}; only {ORDER}, is implemented"
        )
    if after[-1:] != ["Normalize"]:
        entry = {"idx": len(names), "name": str(len(names)), "path": f"{len(names)}_Normalize"}
        entry |= {"type": "sentence_transformers.models.Normalize"}
        raise CheckpointError(
            f"{where}: the modules end without Normalize, and only vectors of length one are served. "
            f"Cosines stay as they are with it: append `{json.dumps(entry)}` to the file"
        )
    encoder = folders[0][1]
    refuse_adapter(encoder)
    _check_pooling(folders[1][1] / "config.json")
    for kind, folder in folders[2:]:
        if kind == "Dense":
            _check_dense(folder / "config.json")
        elif (config := folder / "config.json").exists():
            NORMALIZE.check(config, read_json(config))
    return Pipeline(
        encoder=encoder,
        dense=tuple(path for kind, path in folders if kind == "Dense"),
        folders=tuple(path for _, path in folders if path.is_dir()),
    )


def refuse_adapter(folder: Path) -> None:
    """Raises CheckpointError for the folder of a PEFT adapter, which holds no whole model."""
    path = folder / "adapter_config.json"
    if not path.exists():
        return
    base = read_json(path).get("base_model_name_or_path")
    raise CheckpointError(
        f"{path}: this is a PEFT adapter for {base}, and adapters are not merged here. Merge it into a "
        f'copy of its folder: PeftModel.from_pretrained(AutoModel.from_pretrained("{base}", '
        'dtype="float32"), COPY).merge_and_unload().save_pretrained(COPY), then remove '
        "adapter_config.json and adapter_model.safetensors from the copy"
    )


def _kind(where: Path, name: str) -> str:
    package, _, kind = name.rpartition(".")
    if package.split(".")[0] != "sentence_transformers" or kind not in (
        "Transformer", "Pooling", "Dense", "Normalize", "Dropout",
    ):  # fmt: skip
        raise CheckpointError(f"{where}: module {name} is not implemented")
    return kind


def _check_pooling(path: Path) -> None:
    raw = read_json(path)
    POOLING.check(path, raw)
    older = [key for key in raw if key.startswith("pooling_mode_") and raw[key]]
    # One name or a list (newer), or true flags (older); without either it is the mean.
    mode: Any = raw.get("pooling_mode", [key.removeprefix("pooling_mode_") for key in older])
    modes = [mode] if isinstance(mode, str) else mode or ["mean"]
    if len(modes) > 1 or modes[0] not in MEANS:
        raise CheckpointError(
            f"{path}: pooling {', '.join(map(str, modes))} is not implemented; only the mean is"
        )


def _check_dense(path: Path) -> None:
    raw = read_json(path)
    DENSE.check(path, raw)
    activation = raw.get("activation_function", "absent, which means Tanh,")
    if activation not in IDENTITY:
        raise CheckpointError(
            f"{path}: activation_function {activation} is not implemented; only {IDENTITY[0]} is"
        )
    if raw.get("bias", True):
        raise CheckpointError(f"{path}: bias is not implemented")
