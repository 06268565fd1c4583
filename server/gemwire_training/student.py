"""The encoder in a form that trains: plain PyTorch over texts of one length, without padding."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gemwire_server.checkpoints.synthetic import Geometry
from gemwire_server.models.gemma3.encoder import rotary_table

MAX_TOKENS = 2048
WINDOW = 256  # a sliding layer's token sees as many on each side
THETA = {"sliding_attention": 10_000.0, "full_attention": 1_000_000.0}
EPS = 1e-6
GEOMETRY = Geometry(
    vocab_size=16384,
    hidden_size=256,
    num_hidden_layers=6,
    intermediate_size=512,
    num_attention_heads=4,
    num_key_value_heads=1,
    head_dim=64,
    query_pre_attn_scalar=64,
    dense=512,
    embedding_size=384,
    matryoshka_dimensions=(384, 256, 128, 64),
    lower_case=True,
)


class Norm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * (1 + weight), in fp32 (arXiv:1910.07467, as Gemma writes it)."""

    def __init__(self, size: int, weight: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,), weight))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, 1 + self.weight, EPS)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(linear.weight, std=inputs**-0.5)
    return linear


class Attention(nn.Module):
    def __init__(self, sizes: Geometry, kind: str) -> None:
        super().__init__()
        queries = sizes.num_attention_heads * sizes.head_dim
        keys = sizes.num_key_value_heads * sizes.head_dim
        self.q_proj = _linear(sizes.hidden_size, queries)
        self.k_proj = _linear(sizes.hidden_size, keys)
        self.v_proj = _linear(sizes.hidden_size, keys)
        self.o_proj = _linear(queries, sizes.hidden_size)
        self.q_norm = Norm(sizes.head_dim)
        self.k_norm = Norm(sizes.head_dim)
        self._heads, self._scale = sizes.num_attention_heads, sizes.query_pre_attn_scalar**-0.5
        self._sliding = kind == "sliding_attention"
        table = rotary_table(sizes.head_dim, THETA[kind], MAX_TOKENS, torch.device("cpu"))
        self.register_buffer("_cos", table.cos, persistent=False)
        self.register_buffer("_sin", table.sin, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [b, n, hidden] to [b, n, hidden]."""
        n = x.shape[1]
        rows = [self.q_proj.weight, self.k_proj.weight, self.v_proj.weight]
        q, k, v = F.linear(x, torch.cat(rows)).split([len(weight) for weight in rows], -1)
        size = len(self.q_norm.weight)
        q, k, v = (part.unflatten(-1, (-1, size)) for part in (q, k, v))
        q, k = (
            self._rotate(norm(part), n).to(v.dtype)
            for norm, part in ((self.q_norm, q), (self.k_norm, k))
        )
        # All query heads as rows of one product with the one key head. Plain products: for short texts
        # the backward of the fused attention takes longer than they do.
        scores = q.transpose(1, 2).flatten(1, 2) @ k[:, :, 0].mT * self._scale
        if self._sliding and n > WINDOW + 1:
            at = torch.arange(n, device=x.device)
            hidden = ((at[:, None] - at).abs() > WINDOW).repeat(self._heads, 1)
            scores = scores.masked_fill(hidden, -torch.inf)
        y = scores.softmax(-1, torch.float32).to(v.dtype) @ v[:, :, 0]
        return self.o_proj(y.unflatten(1, (self._heads, n)).transpose(1, 2).flatten(2))

    def _rotate(self, x: Tensor, n: int) -> Tensor:
        """Turns the pairs (x[i], x[i + head_dim / 2]) by their angles (arXiv:2104.09864)."""
        cos, sin = self._cos[:n, None], self._sin[:n, None]  # type: ignore[index]
        a, b = x.chunk(2, dim=-1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class MLP(nn.Module):
    def __init__(self, sizes: Geometry) -> None:
        super().__init__()
        self.gate_proj = _linear(sizes.hidden_size, sizes.intermediate_size)
        self.up_proj = _linear(sizes.hidden_size, sizes.intermediate_size)
        self.down_proj = _linear(sizes.intermediate_size, sizes.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.cat((self.gate_proj.weight, self.up_proj.weight))
        gate, up = F.linear(x, rows).chunk(2, dim=-1)
        return self.down_proj(F.gelu(gate, approximate="tanh") * up)


class Layer(nn.Module):
    def __init__(self, sizes: Geometry, kind: str, gain: float) -> None:
        """`gain`: of what each half adds to the residual; 0 is a layer that changes nothing."""
        super().__init__()
        self.input_layernorm = Norm(sizes.hidden_size)
        self.self_attn = Attention(sizes, kind)
        self.post_attention_layernorm = Norm(sizes.hidden_size, gain - 1)
        self.pre_feedforward_layernorm = Norm(sizes.hidden_size)
        self.mlp = MLP(sizes)
        self.post_feedforward_layernorm = Norm(sizes.hidden_size, gain - 1)

    def forward(self, residual: Tensor) -> Tensor:
        y = self.self_attn(self.input_layernorm(residual))
        residual = residual + self.post_attention_layernorm(y)
        y = self.mlp(self.pre_feedforward_layernorm(residual))
        return residual + self.post_feedforward_layernorm(y)


class Student(nn.Module):
    """Parameters are named as in the checkpoint: the encoder's, and `dense`, the two Dense layers'."""

    def __init__(self, sizes: Geometry = GEOMETRY, gain: float = 0.1) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(sizes.vocab_size, sizes.hidden_size)
        self.layers = nn.ModuleList(Layer(sizes, kind, gain) for kind in sizes.layer_types)
        self.norm = Norm(sizes.hidden_size)
        self.dense = nn.ModuleList(
            (_linear(sizes.hidden_size, sizes.dense), _linear(sizes.dense, sizes.embedding_size))
        )
        self.scale = math.sqrt(sizes.hidden_size)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids [b, n] to unit vectors, fp32 [b, embedding_size]."""
        return F.normalize(self.project(self.states(ids).mean(1)), dim=-1)

    def states(self, ids: Tensor) -> Tensor:
        """Token ids [b, n] to the last norm's output, fp32 [b, n, hidden]."""
        residual = self.embed_tokens(ids) * self.scale
        for layer in self.layers:
            residual = layer(residual)
        states: Tensor = self.norm(residual)
        return states

    def project(self, states: Tensor) -> Tensor:
        """The Dense layers, in fp32: [..., hidden] to [..., embedding_size].

        They are linear: what they say of a text is the mean of what they say of its tokens.
        """
        with torch.autocast(states.device.type, enabled=False):
            for dense in self.dense:
                states = dense(states)
        return states
