"""config.json of a Gemma 3 text encoder → EncoderConfig. What is not implemented is refused by name."""

from typing import Any

from gemwire_server.checkpoint.window import read_window
from gemwire_server.errors import CheckpointError
from gemwire_server.model.config import EncoderConfig, LayerKind

# Keys that change the result only if they leave these values.
FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("gemma3_text",),
    "use_bidirectional_attention": (True,),
    "hidden_activation": ("gelu_pytorch_tanh",),
    "attention_bias": (False, None),
    "attn_logit_softcapping": (None,),
    "final_logit_softcapping": (None,),
    "rope_scaling": (None,),
    "quantization_config": (None,),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
}
READ = {
    "vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
    "num_hidden_layers", "head_dim", "layer_types", "max_position_embeddings", "rms_norm_eps",
    "query_pre_attn_scalar", "rope_theta", "rope_local_base_freq", "rope_parameters", "sliding_window",
    "sliding_window_pattern", "_sliding_window_pattern", "matryoshka_dimensions",
}  # fmt: skip
# Bookkeeping, training and generation; none of it reaches an embedding.
INERT = {
    "architectures", "dtype", "torch_dtype", "transformers_version", "use_cache", "initializer_range",
    "attention_dropout", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id",
    "decoder_start_token_id", "tie_word_embeddings", "cache_implementation", "_name_or_path",
    "_attn_implementation", "_attn_implementation_autoset", "id2label", "label2id", "num_labels",
    "return_dict", "output_attentions", "output_hidden_states", "is_encoder_decoder", "problem_type",
    "task_specific_params", "tokenizer_class", "chunk_size_feed_forward", "is_matryoshka",
}  # fmt: skip


def parse_config(raw: dict[str, Any], sliding_window: int = 0) -> EncoderConfig:
    """`sliding_window` replaces the one in the file unless it is 0.

    Raises CheckpointError, naming the key, for anything unknown, missing or not implemented."""
    for key, allowed in FIXED.items():
        # A flag that is absent has transformers' default: a causal decoder, for this one.
        value = raw.get(key, False if key == "use_bidirectional_attention" else allowed[0])
        if value not in allowed:
            raise CheckpointError(
                f"config.json: {key} is {value!r}; only {allowed[0]!r} is implemented"
            )
    if unknown := sorted(set(raw) - READ - INERT - set(FIXED)):
        raise CheckpointError(f"config.json: unknown key {unknown[0]!r}: not implemented")
    try:
        config = EncoderConfig(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            intermediate_size=raw["intermediate_size"],
            num_attention_heads=raw["num_attention_heads"],
            num_key_value_heads=raw["num_key_value_heads"],
            head_dim=raw["head_dim"],
            layer_types=_layer_types(raw),
            max_position_embeddings=raw["max_position_embeddings"],
            rms_norm_eps=raw["rms_norm_eps"],
            query_pre_attn_scalar=raw["query_pre_attn_scalar"],
            rope_theta=_rope_theta(raw),
            window=read_window(raw["sliding_window"], sliding_window),
        )
    except KeyError as error:
        raise CheckpointError(f"config.json: {error.args[0]} is missing") from None
    if config.num_attention_heads % config.num_key_value_heads or config.head_dim % 2:
        raise CheckpointError(
            "config.json: num_attention_heads must be a multiple of num_key_value_heads and head_dim even"
        )
    return config


def _layer_types(raw: dict[str, Any]) -> tuple[LayerKind, ...]:
    count = raw["num_hidden_layers"]
    types = raw.get("layer_types")
    if types is None:
        period = raw.get("sliding_window_pattern", raw.get("_sliding_window_pattern", 6))
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


def _rope_theta(raw: dict[str, Any]) -> dict[LayerKind, float]:
    """From `rope_parameters` (transformers 5) or the two older keys."""
    if (parameters := raw.get("rope_parameters")) is None:
        return {
            LayerKind.SLIDING: raw["rope_local_base_freq"],
            LayerKind.FULL: raw["rope_theta"],
        }
    theta = {}
    for kind in LayerKind:
        rope = parameters[kind.value]
        if rope.get("rope_type", "default") != "default" or set(rope) - {"rope_type", "rope_theta"}:
            raise CheckpointError(
                f"config.json: rope_parameters.{kind.value} is {rope}: only plain RoPE is implemented"
            )
        theta[kind] = float(rope["rope_theta"])
    return theta
