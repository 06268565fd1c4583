"""Layers that differ in head_dim, key-value heads, window and rotary base, against plain equations."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gemwire_kernels import reference
from gemwire_kernels.cpu import NativeOps, PortableOps
from gemwire_kernels.formats import FLOAT32
from gemwire_kernels.ops import Ops
from gemwire_server.engine.packing import pack
from gemwire_server.errors import DeviceError
from gemwire_server.models import gemma3
from gemwire_server.models.config import EncoderConfig, LayerConfig
from gemwire_server.models.encoder import Encoder
from gemwire_server.runners.cpu import CpuRunner
from support.kernels.cpu import needs_compiler

TOLERANCE = 5e-6  # of a unit vector's entries
LENGTHS = (1, 2, 5, 17, 40, 140, 300)


def layer(kv_heads: int, head_dim: int, theta: float, window: int | None) -> LayerConfig:
    return LayerConfig(
        num_key_value_heads=kv_heads, head_dim=head_dim, rope_theta=theta, window=window
    )


CONFIG = EncoderConfig(
    vocab_size=211,
    hidden_size=48,
    intermediate_size=64,
    num_attention_heads=4,
    layers=(
        layer(2, 32, 1e4, 3),
        layer(1, 64, 1e6, None),
        layer(4, 16, 500.0, 130),
        layer(1, 64, 20.0, 7),
        layer(2, 32, 1e6, 1),
    ),
    attention_scale=0.2,
    max_position_embeddings=512,
    rms_norm_eps=1e-6,
)
MAKERS: dict[str, Callable[[], Ops]] = {
    "reference": lambda: reference,
    "portable": lambda: PortableOps(torch.float32, weights=FLOAT32),
    "native": lambda: NativeOps(torch.float32, weights=FLOAT32, threads=2, products=True),
    "oneDNN": lambda: NativeOps(torch.float32, weights=FLOAT32, threads=2, products=False),
}
DENSE = torch.randn(40, 48, generator=torch.Generator().manual_seed(1)) / 7


def seeded(config: EncoderConfig) -> dict[str, Tensor]:
    """A checkpoint's tensors by name, fp32."""
    random = torch.Generator().manual_seed(0)
    hidden, middle, heads = 48, 64, 4
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens": (211, hidden), "norm": (hidden,)}
    for i, sizes in enumerate(config.layers):
        at, dim, keys = f"layers.{i}.", sizes.head_dim, sizes.num_key_value_heads * sizes.head_dim
        shapes |= {
            f"{at}input_layernorm": (hidden,), f"{at}post_attention_layernorm": (hidden,),
            f"{at}pre_feedforward_layernorm": (hidden,), f"{at}post_feedforward_layernorm": (hidden,),
            f"{at}self_attn.q_proj": (heads * dim, hidden), f"{at}self_attn.k_proj": (keys, hidden),
            f"{at}self_attn.v_proj": (keys, hidden), f"{at}self_attn.o_proj": (hidden, heads * dim),
            f"{at}self_attn.q_norm": (dim,), f"{at}self_attn.k_norm": (dim,),
            f"{at}mlp.gate_proj": (middle, hidden), f"{at}mlp.up_proj": (middle, hidden),
            f"{at}mlp.down_proj": (hidden, middle),
        }  # fmt: skip
    return {
        f"{name}.weight": torch.randn(shape, generator=random)
        * (shape[-1] ** -0.5 if len(shape) > 1 else 0.2)
        for name, shape in shapes.items()
    }


TENSORS = seeded(CONFIG)


def load(ops: Ops, config: EncoderConfig = CONFIG) -> Encoder:
    plan = gemma3.plan_weights(config, torch.float32)
    assert plan.targets.keys() == TENSORS.keys()
    for name, target in plan.targets.items():
        target.copy_(TENSORS[name])
    return plan.make_encoder(DENSE, ops, torch.device("cpu"))


def norm(x: Tensor, name: str) -> Tensor:
    weight = 1 + TENSORS[f"{name}.weight"].double()
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def times(x: Tensor, name: str) -> Tensor:
    return x @ TENSORS[f"{name}.weight"].double().T


def turned(x: Tensor, theta: float) -> Tensor:
    """x [n, heads, dim] as complex numbers, each times e^(i * position * theta^(-2j / dim))."""
    n, _, dim = x.shape
    j = torch.arange(dim // 2, dtype=torch.float64)
    angles = torch.arange(n, dtype=torch.float64)[:, None] * theta ** (-2 * j / dim)
    rotated = torch.complex(*x.chunk(2, -1)) * torch.polar(torch.ones_like(angles), angles)[:, None]
    return torch.cat((rotated.real, rotated.imag), -1)


def expected(ids: np.ndarray) -> Tensor:
    """One text's vector in fp64, a head and a token at a time where attention is concerned."""
    x = TENSORS["embed_tokens.weight"].double()[ids] * 48**0.5
    for i, sizes in enumerate(CONFIG.layers):
        at, dim, kv_heads = f"layers.{i}.", sizes.head_dim, sizes.num_key_value_heads
        y = norm(x, f"{at}input_layernorm")
        q, k, v = (times(y, f"{at}self_attn.{name}_proj").view(len(ids), -1, dim) for name in "qkv")
        q = turned(norm(q, f"{at}self_attn.q_norm"), sizes.rope_theta)
        k = turned(norm(k, f"{at}self_attn.k_norm"), sizes.rope_theta)
        out = torch.empty_like(q)
        for head in range(4):
            shared = head // (4 // kv_heads)
            for row in range(len(ids)):
                reach = len(ids) if sizes.window is None else sizes.window
                seen = slice(max(0, row - reach), row + reach + 1)
                weights = (k[seen, shared] @ q[row, head] * 0.2).softmax(0)
                out[row, head] = weights @ v[seen, shared]
        y = times(out.flatten(1), f"{at}self_attn.o_proj")
        x = x + norm(y, f"{at}post_attention_layernorm")
        y = norm(x, f"{at}pre_feedforward_layernorm")
        gate = F.gelu(times(y, f"{at}mlp.gate_proj"), approximate="tanh")
        y = times(gate * times(y, f"{at}mlp.up_proj"), f"{at}mlp.down_proj")
        x = x + norm(y, f"{at}post_feedforward_layernorm")
    vector: Tensor = DENSE.double() @ norm(x, "norm").mean(0)
    return F.normalize(vector, dim=0)


IDS = [np.random.default_rng(n).integers(0, 211, n, dtype=np.int32) for n in LENGTHS]


@pytest.fixture(scope="module")
def truth() -> Tensor:
    return torch.stack([expected(ids) for ids in IDS])


@pytest.mark.parametrize(
    "name",
    [
        "reference",
        "portable",
        *(pytest.param(n, marks=needs_compiler) for n in ("native", "oneDNN")),
    ],
)
def test_each_layer_has_its_own_sizes(name: str, truth: Tensor) -> None:
    found = CpuRunner(load(MAKERS[name]())).run(pack(IDS))
    np.testing.assert_allclose(found, truth, atol=TOLERANCE)


def change(i: int, changed: LayerConfig) -> EncoderConfig:
    layers = list(CONFIG.layers)
    layers[i] = changed
    return replace(CONFIG, layers=tuple(layers))


@pytest.mark.parametrize(
    "i,changed",
    [
        (0, layer(2, 32, 1e4, 4)),
        (1, layer(1, 64, 1e4, None)),
        (2, layer(4, 16, 500.0, 129)),
        (3, layer(1, 64, 20.0, None)),
        (4, layer(2, 32, 2e4, 1)),
    ],
)
def test_the_comparison_sees_each_layer(i: int, changed: LayerConfig, truth: Tensor) -> None:
    found = CpuRunner(load(reference, change(i, changed))).run(pack(IDS))
    assert np.abs(found - truth.numpy()).max() > 4 * TOLERANCE


def test_the_narrowest_window_is_the_encoders() -> None:
    assert CONFIG.window == 1
    assert change(0, layer(2, 32, 1e4, 3)).window == 1


def test_the_gpu_says_that_it_has_one_size_of_attention() -> None:
    pytest.importorskip("triton")
    from gemwire_server.runners.cuda import attention_of

    with pytest.raises(DeviceError, match=r"layers differ in head_dim.*serve with --device cpu"):
        attention_of(CONFIG)
