"""Writes a checkpoint as a GGUF file of llama.cpp's architecture gemma-embedding, without a vocabulary."""

import math
from pathlib import Path

import gguf
import torch
from torch import Tensor

from gemwire_server.checkpoints import Checkpoint
from gemwire_server.models.config import EncoderConfig
from peers.tensors import dense_tensors, encoder_tensors, norm_weight

LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_feedforward_layernorm": "post_ffw_norm",
}
BLOCK = 32  # values that share a scale in Q8_0


def write_gguf(checkpoint: Checkpoint, path: Path, kind: str) -> None:
    """Writes the file. `kind` is the type of every matrix, "BF16" or "Q8_0".

    As llama-quantize does, a matrix whose rows are no whole blocks stays BF16.
    """
    dense = dense_tensors(checkpoint)
    if len(dense) != 2:
        raise ValueError(f"gemma-embedding has two Dense layers; the checkpoint has {len(dense)}")
    writer = gguf.GGUFWriter(path, "gemma-embedding")
    _describe(writer, checkpoint, dense)
    for name, tensor in encoder_tensors(checkpoint).items():
        _add(writer, _name(name), _adapted(name, tensor, checkpoint.config), kind)
    for number, weight in enumerate(dense, 2):
        _add(writer, f"dense_{number}.weight", weight, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, checkpoint: Checkpoint, dense: list[Tensor]) -> None:
    config = checkpoint.config
    layer = config.layers[0]
    theta = {each.window is None: each.rope_theta for each in config.layers}
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(len(config.layers))
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(layer.num_key_value_heads)
    writer.add_key_length(layer.head_dim)
    writer.add_value_length(layer.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(theta[True])
    writer.add_rope_freq_base_swa(theta[False])
    writer.add_sliding_window(
        2 * config.window
    )  # llama.cpp lets a token see half of that to each side
    writer.add_sliding_window_pattern([each.window is not None for each in config.layers])
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    for number, weight in enumerate(dense, 2):
        writer.add_dense_features_dims(f"dense_{number}", weight.shape[1], weight.shape[0])
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config.vocab_size)


def _name(name: str) -> str:
    if not name.startswith("layers."):
        return {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[
            name
        ]
    _, layer, rest = name.split(".", 2)
    return f"blk.{layer}.{LAYER[rest.removesuffix('.weight')]}.weight"


def _adapted(name: str, tensor: Tensor, config: EncoderConfig) -> Tensor:
    if tensor.dim() > 1:
        return tensor
    weight = norm_weight(tensor)
    if name.endswith("q_norm.weight"):
        # llama.cpp scales scores by 1 / sqrt(head_dim), whatever query_pre_attn_scalar says.
        weight *= config.attention_scale * math.sqrt(config.layers[0].head_dim)
    return weight


def _add(writer: gguf.GGUFWriter, name: str, tensor: Tensor, kind: str) -> None:
    if tensor.dim() == 1:
        writer.add_tensor(name, tensor.numpy())
    elif kind == "BF16" or tensor.shape[1] % BLOCK:
        raw = tensor.to(torch.bfloat16).contiguous().view(torch.uint8).numpy()
        writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType.BF16)
    else:
        quantized = gguf.quantize(tensor.float().numpy(), gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(name, quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
