"""Seeded random checkpoints in the layout of google/embeddinggemma-300m.

For tests and for load that must not depend on a download: the vectors mean nothing, everything else
is as published, file by file and key by key.
"""

import json
import math
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gemwire_server.checkpoints.synthetic.tokenizer import write_tokenizer
from gemwire_server.errors import CheckpointError

SEARCH, DOCUMENT = "task: search result | query: ", "title: none | text: "
CLASSIFICATION = "task: classification | query: "
SIMILARITY = "task: sentence similarity | query: "
PROMPTS = {
    "query": SEARCH,
    "document": DOCUMENT,
    "BitextMining": SEARCH,
    "Clustering": "task: clustering | query: ",
    "Classification": CLASSIFICATION,
    "InstructionRetrieval": "task: code retrieval | query: ",
    "MultilabelClassification": CLASSIFICATION,
    "PairClassification": SIMILARITY,
    "Reranking": SEARCH,
    "Retrieval": SEARCH,
    "Retrieval-query": SEARCH,
    "Retrieval-document": DOCUMENT,
    "STS": SIMILARITY,
    "Summarization": "task: summarization | query: ",
}
# Values drawn at a time: the embedding of the full geometry is 800 MB as float32.
CHUNK = 1 << 22

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The sizes of a model; config.json's names where it has one."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    query_pre_attn_scalar: int
    dense: int
    embedding_size: int
    """Of a vector at its full size, what the last Dense layer gives."""
    matryoshka_dimensions: tuple[int, ...] = ()
    lower_case: bool = False
    """Texts are read in small letters."""

    @property
    def layer_types(self) -> list[str]:
        """Of each layer, as config.json names them: every sixth sees the whole text."""
        layers = range(1, self.num_hidden_layers + 1)
        return ["sliding_attention" if i % 6 else "full_attention" for i in layers]


GEOMETRIES: dict[str, Geometry] = {
    "embeddinggemma-300m": Geometry(
        vocab_size=262144,
        hidden_size=768,
        num_hidden_layers=24,
        intermediate_size=1152,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=256,
        query_pre_attn_scalar=256,
        dense=3072,
        embedding_size=768,
    ),
    # Both kinds of layer, a partial period, and a score scale that is not head_dim.
    "tiny": Geometry(
        vocab_size=2048,
        hidden_size=96,
        num_hidden_layers=7,
        intermediate_size=112,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=32,
        query_pre_attn_scalar=24,
        dense=192,
        embedding_size=96,
        matryoshka_dimensions=(96, 64, 32),
    ),
}


def make_checkpoint(
    directory: Path,
    *,
    geometry: str,
    seed: int,
    tokenizer: Path | None = None,
    dtype: str = "bfloat16",
    shard_bytes: int | None = None,
) -> None:
    """Writes a checkpoint into a folder that is new or empty. The same arguments, the same bytes.

    `tokenizer` is a SentencePiece model to copy; without one, one is trained from sample.txt.
    `dtype` is bfloat16 or float32. With `shard_bytes` the encoder's tensors go into several files
    of about that size. Raises CheckpointError for a geometry or dtype that there is not, and for a
    tokenizer that does not fit.
    """
    if geometry not in GEOMETRIES:
        raise CheckpointError(f"no geometry {geometry!r}; there are {', '.join(GEOMETRIES)}")
    if dtype not in ("bfloat16", "float32"):
        raise CheckpointError(f"dtype {dtype!r}: a checkpoint is bfloat16 or float32")
    # Beside its place until it is whole: half a checkpoint must not look like one.
    partial = directory.with_name(f".{directory.name}.{os.getpid()}.part")
    try:
        _write(partial, GEOMETRIES[geometry], seed, tokenizer, dtype, shard_bytes)
        partial.replace(directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write(
    directory: Path,
    sizes: Geometry,
    seed: int,
    tokenizer: Path | None,
    dtype: str,
    shard_bytes: int | None,
) -> None:
    directory.mkdir(parents=True)
    write_tokenizer(directory, tokenizer, sizes.vocab_size)
    write_configs(directory, sizes, dtype)
    draw = _Draw(seed, dtype)
    encoder = _encoder_shapes(sizes)
    if shard_bytes is None:
        draw.write(directory / "model.safetensors", encoder)
    else:
        _write_shards(directory, encoder, draw, shard_bytes)
    for folder, shape in (
        ("2_Dense", (sizes.dense, sizes.hidden_size)),
        ("3_Dense", (sizes.embedding_size, sizes.dense)),
    ):
        draw.write(directory / folder / "model.safetensors", {"linear.weight": shape}, folder)


def write_configs(directory: Path, sizes: Geometry, dtype: str) -> None:
    """Writes every JSON file of the layout but the tokenizer's, and the modules' folders."""
    config: dict[str, Any] = {
        "_sliding_window_pattern": 6,
        "architectures": ["Gemma3TextModel"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": None,
        "bos_token_id": 2,
        "dtype": dtype,
        "eos_token_id": 1,
        "final_logit_softcapping": None,
        "head_dim": sizes.head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": sizes.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": sizes.intermediate_size,
        "layer_types": sizes.layer_types,
        "max_position_embeddings": 2048,
        "model_type": "gemma3_text",
        "num_attention_heads": sizes.num_attention_heads,
        "num_hidden_layers": sizes.num_hidden_layers,
        "num_key_value_heads": sizes.num_key_value_heads,
        "pad_token_id": 0,
        "query_pre_attn_scalar": sizes.query_pre_attn_scalar,
        "rms_norm_eps": 1e-06,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": 512,
        "transformers_version": "4.57.0.dev0",
        "use_bidirectional_attention": True,
        "use_cache": True,
        "vocab_size": sizes.vocab_size,
    }
    if sizes.matryoshka_dimensions:
        config["matryoshka_dimensions"] = sizes.matryoshka_dimensions
    _write_json(directory / "config.json", config)
    folders = ["", "1_Pooling", "2_Dense", "3_Dense", "4_Normalize"]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": path,
            "type": f"sentence_transformers.models.{path[2:] or 'Transformer'}",
        }
        for i, path in enumerate(folders)
    ]
    _write_json(directory / "modules.json", modules)
    for path in folders:
        (directory / path).mkdir(exist_ok=True)
    modes = (
        "cls_token",
        "mean_tokens",
        "max_tokens",
        "mean_sqrt_len_tokens",
        "weightedmean_tokens",
    )
    flags = {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in (*modes, "lasttoken")}
    pooling = {"word_embedding_dimension": sizes.hidden_size, **flags, "include_prompt": True}
    _write_json(directory / "1_Pooling" / "config.json", pooling)
    widths = (sizes.hidden_size, sizes.dense, sizes.embedding_size)
    for folder, into, out in zip(folders[2:4], widths, widths[1:], strict=False):
        dense = {
            "in_features": into,
            "out_features": out,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        }
        _write_json(directory / folder / "config.json", dense)
    sentence_transformers = {
        "model_type": "SentenceTransformer",
        "__version__": {"sentence_transformers": "5.1.0", "transformers": "4.57.0.dev0"},
        "prompts": PROMPTS,
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    _write_json(directory / "config_sentence_transformers.json", sentence_transformers)
    bert = {"max_seq_length": 2048, "do_lower_case": sizes.lower_case}
    _write_json(directory / "sentence_bert_config.json", bert)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _encoder_shapes(sizes: Geometry) -> Shapes:
    """The encoder's tensors by name, as `Gemma3TextModel` names them."""
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
class _Draw:
    """Writes random tensors: each depends on the seed and its name, not on its file."""

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
        """Norms vary around 0, so that a missing (1 + w) shows; matrices keep a row's variance."""
        scale = np.float32(shape[-1] ** -0.5 if len(shape) > 1 else 0.2)
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        count = math.prod(shape)
        for start in range(0, count, CHUNK):
            values = rng.standard_normal(min(CHUNK, count - start), dtype=np.float32) * scale
            if self.dtype == "bfloat16":
                yield torch.from_numpy(values).bfloat16().view(torch.int16).numpy().data
            else:
                yield values.data


def _write_shards(directory: Path, shapes: Shapes, draw: _Draw, shard_bytes: int) -> None:
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
    _write_json(directory / "model.safetensors.index.json", index)
