"""Seeded random tensors, written as safetensors files."""

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gemwire_server.checkpoints.synthetic.configs import write_json
from gemwire_server.checkpoints.synthetic.geometry import Geometry

# Values drawn at a time: the embedding of the full geometry is 800 MB as float32.
CHUNK = 1 << 22

Shapes = Mapping[str, tuple[int, ...]]


def encoder_shapes(sizes: Geometry) -> Shapes:
    """Returns the shapes of the encoder's tensors, by the names of `Gemma3TextModel`."""
    hidden, inner = sizes.hidden_size, sizes.intermediate_size
    queries = sizes.num_attention_heads * sizes.head_dim
    keys = sizes.num_key_value_heads * sizes.head_dim
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "self_attn.q_norm": (sizes.head_dim,),
        "self_attn.k_norm": (sizes.head_dim,),
        "post_attention_layernorm": (hidden,),
        "pre_feedforward_layernorm": (hidden,),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
        "post_feedforward_layernorm": (hidden,),
    }
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (sizes.vocab_size, hidden)}
    for i in range(sizes.num_hidden_layers):
        shapes |= {f"layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    return shapes | {"norm.weight": (hidden,)}


@dataclass(frozen=True, slots=True)
class Draw:
    """Writes random tensors. Each depends on the seed and its name, not on its file."""

    seed: int
    dtype: str

    def size(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape) * (2 if self.dtype == "bfloat16" else 4)

    def write(self, path: Path, shapes: Shapes, folder: str = "") -> None:
        """Writes a safetensors file by hand: the library wants all tensors of a file in memory."""
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for name, shape in shapes.items():
            start, end = end, end + self.size(shape)
            header[name] = {
                "dtype": {"bfloat16": "BF16", "float32": "F32"}[self.dtype],
                "shape": shape,
                "data_offsets": (start, end),
            }
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # the format wants the tensors aligned
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little"))
            file.write(text)
            for name, shape in shapes.items():
                for chunk in self._values(f"{folder}/{name}", shape):
                    file.write(chunk)

    def _values(self, name: str, shape: tuple[int, ...]) -> Iterator[memoryview]:
        """Draws the values of a tensor. Norms vary around 0, so that a missing (1 + w) shows;
        matrices keep a row's variance.
        """
        scale = np.float32(shape[-1] ** -0.5 if len(shape) > 1 else 0.2)
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        count = math.prod(shape)
        for start in range(0, count, CHUNK):
            values = rng.standard_normal(min(CHUNK, count - start), dtype=np.float32) * scale
            if self.dtype == "bfloat16":
                yield torch.from_numpy(values).bfloat16().view(torch.int16).numpy().data
            else:
                yield values.data


def write_shards(directory: Path, shapes: Shapes, draw: Draw, shard_bytes: int) -> None:
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    used = 0
    for name, shape in shapes.items():
        if shards[-1] and used + draw.size(shape) > shard_bytes:
            shards.append({})
            used = 0
        shards[-1][name] = shape
        used += draw.size(shape)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        draw.write(directory / file, shard)
        weight_map |= dict.fromkeys(shard, file)
    total = sum(map(draw.size, shapes.values()))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(directory / "model.safetensors.index.json", index)
