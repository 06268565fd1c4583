"""The Gemma 3 text encoder over a packed batch, as equations over `Ops`.

Equations and parameter names follow transformers' Gemma3TextModel with bidirectional attention.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gemwire_kernels.ops import Batch, Embedding, Ops, RotaryTable, Weight
from gemwire_kernels.reference import rms_norm
from gemwire_server.models.config import EncoderConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """The weights of a layer. Norms are fp32 and hold 1 + w; projections are packed by the backend."""

    input_layernorm: Tensor
    qkv_proj: Weight
    q_norm: Tensor
    k_norm: Tensor
    o_proj: Weight
    post_attention_layernorm: Tensor
    pre_feedforward_layernorm: Tensor
    gate_up_proj: Weight
    down_proj: Weight
    post_feedforward_layernorm: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderWeights:
    """The weights of an encoder. `dtype` is that of activations; `dense` is the folded Dense
    layers, fp32 [dimensions, hidden].
    """

    dtype: torch.dtype
    embed_tokens: Embedding
    layers: tuple[LayerWeights, ...]
    norm: Tensor
    dense: Tensor


class Encoder:
    """Turns token ids into one vector a text, or one a token."""

    def __init__(self, config: EncoderConfig, weights: EncoderWeights, ops: Ops) -> None:
        self.config = config
        self.weights = weights
        self.ops = ops
        positions, device = config.max_position_embeddings, weights.norm.device
        # Layers with the same angles share a table.
        tables = {
            angles: rotary_table(*angles, positions, device, ops.rotary_dtype)
            for angles in {(layer.head_dim, layer.rope_theta) for layer in config.layers}
        }
        self._rotary = [tables[layer.head_dim, layer.rope_theta] for layer in config.layers]

    def with_ops(self, ops: Ops) -> "Encoder":
        """Returns an encoder of the same packed weights that calls the operations of another backend."""
        return Encoder(self.config, self.weights, ops)

    @property
    def dimensions(self) -> int:
        return self.weights.dense.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return self.weights.dtype

    @torch.inference_mode()
    def forward(self, batch: Batch, *, normalize: bool = True) -> Tensor:
        """Turns a batch that `ops.place` made into fp32 [n, dimensions]. With `normalize` each row has
        length one."""
        ops, weights = self.ops, self.weights
        # Pooling takes the final norm from the residual, which is not rounded to dtype.
        pooled = ops.pool(batch, self._residual(batch), weights.norm, self.config.rms_norm_eps)
        return ops.head(batch, pooled, weights.dense, normalize=normalize)

    @torch.inference_mode()
    def token_states(self, batch: Batch) -> Tensor:
        """Computes the final hidden state of every token, after the last norm: fp32 [T, hidden]."""
        return rms_norm(self._residual(batch), self.weights.norm, self.config.rms_norm_eps)

    def _residual(self, batch: Batch) -> Tensor:
        """Runs the layers. Returns the residual [T, hidden], before the final norm."""
        ops, config, weights, eps = self.ops, self.config, self.weights, self.config.rms_norm_eps
        layers = weights.layers
        residual, x = ops.embed_norm(
            batch, weights.embed_tokens, config.embedding_scale, layers[0].input_layernorm, eps
        )
        next_norms = [layer.input_layernorm for layer in layers[1:]] + [weights.norm]
        for sizes, layer, rotary, next_norm in zip(
            config.layers, layers, self._rotary, next_norms, strict=True
        ):
            q, k, v = ops.qkv_norm_rope(
                batch, x, layer.qkv_proj, layer.q_norm, layer.k_norm, rotary,
                config.num_attention_heads, eps,
            )  # fmt: skip
            y = ops.attention(batch, q, k, v, config.attention_scale, sizes.window)
            y = ops.linear(batch, y, layer.o_proj)
            x = ops.norm_residual_norm(
                batch, y, residual, layer.post_attention_layernorm,
                layer.pre_feedforward_layernorm, eps,
            )  # fmt: skip
            y = ops.linear(batch, ops.gate_up_geglu(batch, x, layer.gate_up_proj), layer.down_proj)
            x = ops.norm_residual_norm(
                batch, y, residual, layer.post_feedforward_layernorm, next_norm, eps
            )
        # The last x is the final norm rounded to dtype, which no output uses.
        return residual


def rotary_table(
    head_dim: int,
    theta: float,
    max_positions: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> RotaryTable:
    """Computes the angles position * theta^(-2i / head_dim), i < head_dim / 2, in fp64."""
    frequencies = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angles = torch.outer(torch.arange(max_positions, dtype=torch.float64), frequencies)
    return RotaryTable(angles.cos().to(device, dtype), angles.sin().to(device, dtype))
