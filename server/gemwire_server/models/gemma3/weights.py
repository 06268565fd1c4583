"""Plans the weights of a Gemma 3 text encoder."""

from typing import Any

import torch
from torch import Tensor

from gemwire_kernels.formats import Stored
from gemwire_kernels.ops import Ops
from gemwire_server.models.config import EncoderConfig, LayerConfig
from gemwire_server.models.gemma3.encoder import Encoder, EncoderWeights, LayerWeights
from gemwire_server.models.weight_plan import WeightPlan

NORMS = (
    "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)  # fmt: skip


class Gemma3Weights(WeightPlan):
    """The plan, by the names of transformers' Gemma3TextModel. q, k and v are one matrix, gate and
    up another.
    """

    def __init__(self, config: EncoderConfig, dtype: torch.dtype) -> None:
        super().__init__(dtype)
        self._config = config
        # Lists and dicts hold the weights, so that a packed weight can be removed and freed.
        self._table = [self.matrix(config.hidden_size, {"embed_tokens.weight": config.vocab_size})]
        self._norm = self.vector("norm.weight", config.hidden_size)
        self._layers = [self._layer(f"layers.{i}.", each) for i, each in enumerate(config.layers)]

    def _layer(self, at: str, layer: LayerConfig) -> dict[str, Stored | Tensor]:
        hidden, middle = self._config.hidden_size, self._config.intermediate_size
        queries, keys = self._config.query_rows(layer), layer.key_rows
        attention, mlp = f"{at}self_attn.", f"{at}mlp."

        def stacked(prefix: str, columns: int, **rows: int) -> Stored:
            return self.matrix(columns, {f"{prefix}{n}.weight": count for n, count in rows.items()})

        matrices = {
            "qkv_proj": stacked(attention, hidden, q_proj=queries, k_proj=keys, v_proj=keys),
            "o_proj": stacked(attention, queries, o_proj=hidden),
            "gate_up_proj": stacked(mlp, hidden, gate_proj=middle, up_proj=middle),
            "down_proj": stacked(mlp, middle, down_proj=hidden),
        }
        norms = {name: self.vector(f"{at}{name}.weight", hidden) for name in NORMS}
        for name in ("q_norm", "k_norm"):
            norms[name] = self.vector(f"{attention}{name}.weight", layer.head_dim)
        return matrices | norms

    def make_encoder(self, dense: Tensor, ops: Ops, device: torch.device) -> Encoder:
        def finish(weight: Stored | Tensor) -> Any:
            if isinstance(weight, Stored):
                return ops.pack(weight)
            return (weight + 1).to(device)  # Gemma's RMSNorm multiplies by 1 + w

        weights = EncoderWeights(
            dtype=self.dtype,
            embed_tokens=ops.pack_embedding(self._table.pop()),
            norm=(self._norm + 1).to(device),
            dense=dense.to(device),
            layers=tuple(
                LayerWeights(**{name: finish(layer.pop(name)) for name in list(layer)})
                for layer in self._layers
            ),
        )
        return Encoder(self._config, weights, ops)
