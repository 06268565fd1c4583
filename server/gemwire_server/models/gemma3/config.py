"""Reads config.json of a Gemma 3 text encoder. Keys that are not implemented are refused by name."""

import enum
import math
from collections.abc import Mapping
from typing import Any

from gemwire_server.errors import CheckpointError
from gemwire_server.json_keys import Keys
from gemwire_server.models.config import EncoderConfig, LayerConfig
from gemwire_server.models.gemma3.window import literal_window, read_window

TRAINED_DIMENSIONS: tuple[int, ...] = (768, 512, 256, 128)
"""EmbeddingGemma's sizes; its config.json does not list them."""


class LayerKind(enum.Enum):
    """How far the tokens of a layer see. The values are those of config.json's `layer_types`."""

    SLIDING = "sliding_attention"
    FULL = "full_attention"


CONFIG = Keys(
    file="config.json",
    read={
        "vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
        "num_hidden_layers", "head_dim", "layer_types", "sliding_window_pattern",
        "max_position_embeddings", "rms_norm_eps", "query_pre_attn_scalar", "rope_theta",
        "rope_local_base_freq", "rope_scaling", "rope_parameters", "sliding_window",
        "use_bidirectional_attention", "matryoshka_dimensions",
    },
    fixed={
        "model_type": ("gemma3_text",),
        "hidden_activation": ("gelu_pytorch_tanh",),
        "attention_bias": (False, None),
        "attn_logit_softcapping": (None,),
        "final_logit_softcapping": (None,),
        "quantization_config": (None,),
        "is_decoder": (False, None),
        "is_encoder_decoder": (False, None),
        "add_cross_attention": (False, None),
        "pruned_heads": ({}, None),
    },
    # Bookkeeping, training, classification and generation; none of it reaches an embedding.
    ignored={
        "architectures", "dtype", "torch_dtype", "transformers_version", "use_cache",
        "initializer_range", "attention_dropout", "bos_token_id", "eos_token_id", "pad_token_id",
        "sep_token_id", "unk_token_id", "decoder_start_token_id", "tie_word_embeddings",
        "cache_implementation", "_name_or_path", "_attn_implementation",
        "_attn_implementation_autoset", "attn_implementation", "_commit_hash", "id2label", "label2id",
        "num_labels", "return_dict", "output_attentions", "output_hidden_states",
        "problem_type", "finetuning_task", "task_specific_params",
        "tokenizer_class", "prefix", "chunk_size_feed_forward", "is_matryoshka",
        # transformers reads sliding_window_pattern alone.
        "_sliding_window_pattern",
        "cross_attention_hidden_size", "tie_encoder_decoder", "torchscript", "tf_legacy_loss",
        "use_bfloat16", "gradient_checkpointing", "bad_words_ids", "begin_suppress_tokens",
        "diversity_penalty", "do_sample", "early_stopping", "encoder_no_repeat_ngram_size",
        "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id",
        "length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups",
        "num_beams", "num_return_sequences", "output_scores", "remove_invalid_values",
        "repetition_penalty", "return_dict_in_generate", "suppress_tokens", "temperature", "top_k",
        "top_p", "typical_p",
    },
    ignored_prefixes=("unsloth_",),
)  # fmt: skip
# The older key of each kind's theta, and the value that both libraries take without any key.
THETA = {
    LayerKind.SLIDING: ("rope_local_base_freq", 10_000.0),
    LayerKind.FULL: ("rope_theta", 1_000_000.0),
}


def read_config(raw: Mapping[str, Any], sliding_window: int = 0) -> EncoderConfig:
    """Reads config.json. `sliding_window` replaces the one in the file unless it is 0.

    Raises CheckpointError, naming the key, for anything unknown, missing or not implemented.
    """
    CONFIG.check(CONFIG.file, raw)
    # Without the key, transformers builds a causal decoder.
    if raw.get("use_bidirectional_attention") is not True:
        raise CheckpointError(
            "config.json: use_bidirectional_attention is "
            f"{raw.get('use_bidirectional_attention', 'absent')!r}: a causal model is not implemented"
        )
    try:
        window = read_window(raw["sliding_window"], sliding_window)
        config = EncoderConfig(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            intermediate_size=raw["intermediate_size"],
            num_attention_heads=raw["num_attention_heads"],
            layers=_layers(raw, window),
            attention_scale=1 / math.sqrt(raw["query_pre_attn_scalar"]),
            max_position_embeddings=raw["max_position_embeddings"],
            rms_norm_eps=raw["rms_norm_eps"],
            reinterpreted=(
                f"window{window}" if window != literal_window(raw["sliding_window"]) else ""
            ),
        )
        heads, head_dim = raw["num_key_value_heads"], raw["head_dim"]
    except KeyError as error:
        raise CheckpointError(f"config.json: {error.args[0]} is missing") from None
    if config.num_attention_heads % heads or head_dim % 2:
        raise CheckpointError(
            "config.json: num_attention_heads must be a multiple of num_key_value_heads and head_dim even"
        )
    return config


def _layers(raw: Mapping[str, Any], window: int) -> tuple[LayerConfig, ...]:
    theta = _rope_theta(raw)
    return tuple(
        LayerConfig(
            num_key_value_heads=raw["num_key_value_heads"],
            head_dim=raw["head_dim"],
            rope_theta=theta[kind],
            window=window if kind is LayerKind.SLIDING else None,
        )
        for kind in _layer_types(raw)
    )


def _layer_types(raw: Mapping[str, Any]) -> tuple[LayerKind, ...]:
    count = raw["num_hidden_layers"]
    types = raw.get("layer_types")
    if types is None:
        period = raw.get("sliding_window_pattern", 6)
        types = [
            (LayerKind.SLIDING if (i + 1) % period else LayerKind.FULL).value for i in range(count)
        ]
    if len(types) != count:
        raise CheckpointError(
            f"config.json: layer_types has {len(types)} entries for {count} layers"
        )
    try:
        return tuple(LayerKind(name) for name in types)
    except ValueError as error:
        raise CheckpointError(f"config.json: layer_types: {error}: not implemented") from None


def _rope_theta(raw: Mapping[str, Any]) -> dict[LayerKind, float]:
    """Reads `rope_parameters` of each kind of layer (transformers 5), or else the two older keys."""
    if not _is_plain(raw.get("rope_scaling")):
        raise CheckpointError(
            f"config.json: rope_scaling is {raw['rope_scaling']}: only plain RoPE is implemented"
        )
    parameters = raw.get("rope_parameters") or {}
    if other := sorted(set(parameters) - {kind.value for kind in LayerKind}):
        # transformers ignores them.
        raise CheckpointError(
            f"config.json: rope_parameters.{other[0]} is of no kind of layer: give rope_parameters as "
            "{full_attention: {rope_theta: ...}, sliding_attention: {rope_theta: ...}}"
        )
    theta = {}
    for kind, (older, default) in THETA.items():
        rope = parameters.get(kind.value) or {}
        if not _is_plain({key: rope[key] for key in rope if key != "rope_theta"}):
            raise CheckpointError(
                f"config.json: rope_parameters.{kind.value} is {rope}: only plain RoPE is implemented"
            )
        theta[kind] = float(rope.get("rope_theta", raw.get(older, default)))
    return theta


def _is_plain(rope: dict[str, Any] | None) -> bool:
    """Whether no key scales the rotation; `type` is the older name of `rope_type`."""
    rest = {key: value for key, value in (rope or {}).items() if value is not None}
    return all(key in ("rope_type", "type") and rest[key] == "default" for key in rest)
