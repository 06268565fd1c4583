"""Reads how sentence-transformers reads a text: sentence_bert_config.json, and the keys that newer
versions keep in the tokenizer's files instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemwire_server.errors import CheckpointError
from gemwire_server.json_files import read_json_if_there
from gemwire_server.json_keys import Keys

FORWARD = {"method": "forward", "method_output_name": "last_hidden_state"}
READING = Keys(
    file="sentence_bert_config.json",
    read={
        "max_seq_length", "do_lower_case", "processing_kwargs", "model_args", "model_kwargs",
        "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs",
    },
    fixed={
        "transformer_task": ("feature-extraction",),
        # A modality "message" would put texts into the tokenizer's chat template.
        "modality_config": ({"text": FORWARD},),
        "module_output_name": ("token_embeddings",),
        "query_length": (None,),
        "document_length": (None,),
        "query_expansion": (None,),
    },
    ignored={"unpad_inputs"},
)  # fmt: skip
# Keys whose value is arguments that sentence-transformers passes to transformers when it loads a model.
LOADING = {
    "model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs",
}  # fmt: skip
# Arguments that decide only how fast, where and in which dtype transformers computes.
INERT_LOADING = {
    "attn_implementation", "device_map", "dtype", "low_cpu_mem_usage", "torch_dtype",
    "trust_remote_code", "use_cache", "use_safetensors",
}  # fmt: skip
# Arguments of the call to the tokenizer that change no token id.
INERT_CALLING = {
    "padding",
    "padding_side",
    "pad_to_multiple_of",
    "return_tensors",
    "logits_to_keep",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """How a text is read. `max_tokens` counts special tokens, and is None where no file sets a
    limit; `lower`: texts are lowercased.
    """

    max_tokens: int | None
    lower: bool


def read_reading(encoder: Path) -> Reading:
    """Reads the encoder's folder. Raises CheckpointError for what is not implemented."""
    path = encoder / "sentence_bert_config.json"
    raw = read_json_if_there(path)
    READING.check(path, raw)
    for key in LOADING & set(raw):
        _refuse_others(path, key, raw[key] or {}, INERT_LOADING)
    for name, arguments in (raw.get("processing_kwargs") or {}).items():
        if name in ("text", "common"):  # the rest is for other kinds of input
            _refuse_others(path, f"processing_kwargs.{name}", arguments, INERT_CALLING)
    limit, where = raw.get("max_seq_length"), f"{path}: max_seq_length"
    config = encoder / "tokenizer_config.json"
    if limit is None:
        limit = read_json_if_there(config).get("model_max_length")
        where = f"{config}: model_max_length"
    if limit is not None and not (isinstance(limit, int | float) and limit > 2):
        raise CheckpointError(f"{where} is {limit!r}: a number of tokens is expected")
    return Reading(None if limit is None else int(limit), bool(raw.get("do_lower_case")))


def _refuse_others(path: Path, key: str, arguments: Mapping[str, Any], inert: set[str]) -> None:
    if other := sorted(set(arguments) - inert):
        raise CheckpointError(
            f"{path}: {key}.{other[0]} is {arguments[other[0]]!r}: not implemented"
        )
