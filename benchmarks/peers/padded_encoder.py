"""The encoder over a padded batch in plain PyTorch, in float32, for an export."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gemwire_server.checkpoints import Checkpoint
from gemwire_server.models.config import LayerConfig
from gemwire_server.models.gemma3.encoder import rotary_table
from peers.tensors import dense_tensors, encoder_tensors, norm_weight


class PaddedEncoder(nn.Module):
    """Turns input_ids and attention_mask [n, length] into vectors [n, dimensions] of length one."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.config = config = checkpoint.config
        tensors = encoder_tensors(checkpoint)
        embedding = tensors.pop("embed_tokens.weight").float()
        self.embed_tokens = nn.Parameter(embedding, requires_grad=False)
        for name, tensor in tensors.items():
            value = norm_weight(tensor) if tensor.dim() == 1 else tensor.float().T.contiguous()
            self.register_parameter(_key(name), nn.Parameter(value, requires_grad=False))
        self.dense = nn.ParameterList(
            nn.Parameter(weight.float().T.contiguous(), requires_grad=False)
            for weight in dense_tensors(checkpoint)
        )
        for layer in config.layers:
            table = rotary_table(
                layer.head_dim,
                layer.rope_theta,
                config.max_position_embeddings,
                torch.device("cpu"),
            )
            for name, half in zip(("cos", "sin"), table, strict=True):
                self.register_buffer(_angles(layer, name), torch.cat((half, half), -1))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        config, length = self.config, input_ids.shape[1]
        positions = torch.arange(length)
        distance = (positions[:, None] - positions[None, :]).abs()
        there = (attention_mask[:, None, None, :] > 0).expand(-1, -1, length, -1)
        masks = {
            window: there if window is None else there & (distance <= window)
            for window in {layer.window for layer in config.layers}
        }
        x = F.embedding(input_ids, self.embed_tokens) * config.embedding_scale
        for i, layer in enumerate(config.layers):
            at = f"layers.{i}."
            y = self._norm(x, f"{at}input_layernorm")
            y = self._attention(y, f"{at}self_attn.", layer, masks[layer.window])
            x = x + self._norm(y, f"{at}post_attention_layernorm")
            y = self._norm(x, f"{at}pre_feedforward_layernorm")
            gate = F.gelu(y @ self._of(f"{at}mlp.gate_proj"), approximate="tanh")
            y = (gate * (y @ self._of(f"{at}mlp.up_proj"))) @ self._of(f"{at}mlp.down_proj")
            x = x + self._norm(y, f"{at}post_feedforward_layernorm")
        x = self._norm(x, "norm")
        mask = attention_mask[:, :, None].to(x.dtype)
        pooled = (x * mask).sum(1) / mask.sum(1)
        for weight in self.dense:
            pooled = pooled @ weight
        return pooled / pooled.pow(2).sum(-1, keepdim=True).sqrt()

    def _attention(self, x: Tensor, at: str, layer: LayerConfig, mask: Tensor) -> Tensor:
        config = self.config
        q, k, v = (
            (x @ self._of(f"{at}{name}_proj")).unflatten(-1, (-1, layer.head_dim)).transpose(1, 2)
            for name in "qkv"
        )
        q = self._rotate(self._norm(q, f"{at}q_norm"), layer)
        k = self._rotate(self._norm(k, f"{at}k_norm"), layer)
        group = config.num_attention_heads // layer.num_key_value_heads
        k, v = (kv.repeat_interleave(group, 1) for kv in (k, v))
        out = F.scaled_dot_product_attention(q, k, v, mask, scale=config.attention_scale)
        return out.transpose(1, 2).flatten(2) @ self._of(f"{at}o_proj")

    def _rotate(self, x: Tensor, layer: LayerConfig) -> Tensor:
        length = x.shape[2]
        cos: Tensor = getattr(self, _angles(layer, "cos"))[:length]
        sin: Tensor = getattr(self, _angles(layer, "sin"))[:length]
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat((-b, a), -1) * sin

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight = self._of(name)
        return F.rms_norm(x, weight.shape, weight, self.config.rms_norm_eps)

    def _of(self, name: str) -> Tensor:
        parameter: Tensor = getattr(self, _key(f"{name}.weight"))
        return parameter


def _angles(layer: LayerConfig, name: str) -> str:
    """Names the buffer of a layer's cosines or sines; layers with the same angles share one."""
    return _key(f"{name}.{layer.head_dim}.{layer.rope_theta:g}")


def _key(name: str) -> str:
    return name.replace(".", "_")
