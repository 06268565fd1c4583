"""Run with some version of transformers: python configs.py CONFIG_JSON.

Prints, for each way to spell a config.json that this version reads, the file, what transformers makes of
it, and that as it would save it: whole, and without what is a default.
"""

import json
import sys
from pathlib import Path
from typing import Any

from transformers import Gemma3TextConfig

LOCAL, FULL = {"rope_theta": 20_000.0}, {"rope_theta": 3_000_000.0}
ROPE = ("rope_theta", "rope_local_base_freq", "rope_scaling")
# What is taken out of the file, and what is put in.
SPELLINGS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "as published": ((), {}),
    "two keys": (ROPE, {"rope_theta": 3e6, "rope_local_base_freq": 20_000}),
    "no rope key": (ROPE, {}),
    "rope_scaling default": ((), {"rope_scaling": {"rope_type": "default"}}),
    "rope_scaling type": ((), {"rope_scaling": {"type": "default"}}),
    "by kind": (ROPE, {"rope_parameters": {"sliding_attention": LOCAL, "full_attention": FULL}}),
    "by kind, typed": (
        ROPE,
        {
            "rope_parameters": {
                "sliding_attention": LOCAL | {"rope_type": "default"},
                "full_attention": FULL | {"type": "default"},
            }
        },
    ),
    "one kind": (ROPE, {"rope_parameters": {"full_attention": FULL}}),
    "one kind, other key": (
        ROPE,
        {"rope_parameters": {"full_attention": FULL}, "rope_local_base_freq": 20_000.0},
    ),
    "kinds of null": (
        ROPE,
        {"rope_parameters": {"full_attention": None, "sliding_attention": None}},
    ),
    "rope_parameters null": ((), {"rope_parameters": None}),
    "both, parameters win": (
        (),
        {"rope_parameters": {"sliding_attention": dict(LOCAL), "full_attention": dict(FULL)}},
    ),
    "no layer_types": (("layer_types",), {}),
    "layer_types null": ((), {"layer_types": None}),
    "a pattern": (("layer_types",), {"sliding_window_pattern": 3}),
    "a pattern of another name": (("layer_types",), {"_sliding_window_pattern": 3}),
    "torch_dtype": (("dtype",), {"torch_dtype": "float32"}),
    "unsloth": ((), {"unsloth_fixed": True, "unsloth_version": "2026.9.2"}),
    "a causal class": ((), {"architectures": ["Gemma3ForCausalLM"], "tie_word_embeddings": True}),
    "a name": ((), {"_name_or_path": "google/embeddinggemma-300m", "use_cache": False}),
}


def main(path: str) -> None:
    published = json.loads(Path(path).read_text())
    found = {}
    for name, (out, put) in SPELLINGS.items():
        raw = {key: value for key, value in published.items() if key not in out} | put
        if "rope_parameters" in raw and not hasattr(Gemma3TextConfig, "default_theta"):
            continue  # not read before transformers 5
        try:
            config = Gemma3TextConfig.from_dict(json.loads(json.dumps(raw)))
        except (KeyError, AttributeError):  # 4.57 and 5.0 want every key of some
            continue
        found[name] = {
            "raw": raw,
            "theta": thetas(config),
            "layer_types": config.layer_types,
            "whole": json.loads(config.to_json_string(use_diff=False)),
            "short": json.loads(config.to_json_string()),
        }
    print(json.dumps(found))


def thetas(config: Any) -> dict[str, float]:
    parameters = getattr(config, "rope_parameters", None)
    if parameters is None:  # before transformers 5
        return {
            "sliding_attention": config.rope_local_base_freq,
            "full_attention": config.rope_theta,
        }
    return {
        kind: parameters[kind]["rope_theta"] for kind in ("sliding_attention", "full_attention")
    }


if __name__ == "__main__":
    main(sys.argv[1])
