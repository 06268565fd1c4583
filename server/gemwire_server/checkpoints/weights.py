"""model.safetensors → EncoderWeights: each tensor of the files is used exactly once, or named.

What the checkpoint holds apart and the operations want fused is laid out once, here: a plan maps each
name to a view of its destination, and the files are read into the plan a slice at a time. The memory
needed beyond the weights is one slice: a mapped page counts until its mapping goes, so the mapping is
renewed as reading goes on.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gemwire_kernels.ops import Ops
from gemwire_server.checkpoints.files import weight_files
from gemwire_server.errors import CheckpointError
from gemwire_server.json_files import read_json
from gemwire_server.models.config import EncoderConfig
from gemwire_server.models.gemma3.encoder import EncoderWeights, LayerWeights

SLICE_BYTES = 32 << 20
NORMS = (
    "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)  # fmt: skip


def load_weights(
    encoder: Path,
    dense: tuple[Path, ...],
    config: EncoderConfig,
    dtype: torch.dtype,
    device: torch.device,
    ops: Ops,
) -> EncoderWeights:
    """Reads the encoder's tensors from its folder and folds the Dense folders' into one matrix."""
    plan, assemble = _plan(config, dtype, ops)
    _read_into(plan, weight_files(encoder))
    return assemble(_fold_dense(dense, config.hidden_size), device)


class _Plan(dict[str, Tensor]):
    """Name in the file → where its values go, a view of the right shape."""

    def stacked(
        self, prefix: str, rows: dict[str, int], columns: int, dtype: torch.dtype
    ) -> Tensor:
        whole = torch.empty(sum(rows.values()), columns, dtype=dtype)
        for name, part in zip(rows, whole.split(list(rows.values())), strict=True):
            self[f"{prefix}{name}.weight"] = part
        return whole

    def vector(self, name: str, length: int) -> Tensor:
        self[f"{name}.weight"] = (values := torch.empty(length))
        return values


def _plan(config: EncoderConfig, dtype: torch.dtype, ops: Ops) -> tuple[_Plan, Any]:
    """The plan, and the function that makes EncoderWeights of it once it is filled."""
    plan = _Plan()
    hidden, middle = config.hidden_size, config.intermediate_size
    # A list, so that packing it can free it.
    table = [plan.stacked("", {"embed_tokens": config.vocab_size}, hidden, dtype)]
    norm = plan.vector("norm", hidden)
    layers: list[dict[str, Tensor]] = []
    for i in range(len(config.layer_types)):
        at, mlp, self_attn = f"layers.{i}.", f"layers.{i}.mlp.", f"layers.{i}.self_attn."
        q, k, v = config.qkv_rows
        matrices = {
            "qkv_proj": plan.stacked(
                self_attn, {"q_proj": q, "k_proj": k, "v_proj": v}, hidden, dtype
            ),
            "o_proj": plan.stacked(self_attn, {"o_proj": hidden}, q, dtype),
            "gate_up_proj": plan.stacked(
                mlp, {"gate_proj": middle, "up_proj": middle}, hidden, dtype
            ),
            "down_proj": plan.stacked(mlp, {"down_proj": hidden}, middle, dtype),
        }
        vectors = {name: plan.vector(at + name, hidden) for name in NORMS} | {
            name: plan.vector(self_attn + name, config.head_dim) for name in ("q_norm", "k_norm")
        }
        layers.append(matrices | vectors)

    def assemble(dense: Tensor, device: torch.device) -> EncoderWeights:
        def finish(weight: Tensor) -> Any:
            # Gemma's RMSNorm multiplies by 1 + w; a vector is a norm, a matrix a projection.
            return (weight + 1).to(device) if weight.dim() == 1 else ops.pack(weight.to(device))

        return EncoderWeights(
            dtype=dtype,
            embed_tokens=ops.pack_embedding(table.pop().to(device)),
            norm=finish(norm),
            dense=dense.to(device),
            layers=tuple(
                LayerWeights(**{name: finish(layer.pop(name)) for name in list(layer)})
                for layer in layers
            ),
        )

    return plan, assemble


def _read_into(plan: dict[str, Tensor], files: list[Path]) -> None:
    """Fills every entry of the plan, and removes it; anything else in the files is an error."""
    for file in files:
        names = _names(file)
        # Saved from the causal class, all names carry its prefix.
        prefix = "model." if all(name.startswith("model.") for name in names) else ""
        for name in names:
            target = plan.pop(name.removeprefix(prefix), None)
            if target is None:
                raise CheckpointError(
                    f"{file}: tensor {name} is not part of the encoder, or comes twice; it would be ignored"
                )
            for rows, values in _slices(file, name, target):
                target[rows].copy_(values)
    if plan:
        raise CheckpointError(
            f"{files[0].parent}: {len(plan)} tensors are missing, the first is {next(iter(plan))}"
        )


def _names(file: Path) -> list[str]:
    try:
        with safe_open(file, "pt") as opened:
            return list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: not a whole safetensors file: {error}") from None


def _slices(file: Path, name: str, target: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """The values of a tensor, some rows at a time, each from a mapping of its own."""
    step = max(1, SLICE_BYTES // max(4, target[0].numel() * 4))
    for first in range(0, len(target), step):
        with safe_open(file, "pt") as opened:
            values = opened.get_slice(name)
            if first == 0:
                _check(file, name, values.get_dtype(), values.get_shape(), target)
            rows = slice(first, min(first + step, len(target)))
            yield rows, values[rows]


def _check(file: Path, name: str, dtype: str, shape: list[int], target: Tensor) -> None:
    if dtype == "F16":
        raise CheckpointError(
            f"{file}: {name} is float16, which Gemma's activations overflow; use bfloat16 or float32"
        )
    if dtype not in ("F32", "BF16"):
        raise CheckpointError(f"{file}: {name} is {dtype}; only F32 and BF16 are implemented")
    if tuple(shape) != tuple(target.shape):
        raise CheckpointError(
            f"{file}: {name} is {shape}, but config.json makes it {list(target.shape)}"
        )


def _fold_dense(folders: tuple[Path, ...], hidden: int) -> Tensor:
    """The Dense layers have no activation between them: their product in fp64, as fp32 [out, hidden]."""
    product = torch.eye(hidden, dtype=torch.float64)
    for folder in folders:
        settings = read_json(folder / "config.json")
        weight = torch.empty(settings["out_features"], settings["in_features"])
        if weight.shape[1] != len(product):
            raise CheckpointError(
                f"{folder}: in_features is {weight.shape[1]}, but what comes before gives {len(product)}"
            )
        _read_into({"linear.weight": weight}, weight_files(folder))
        product = weight.double() @ product
    return product.float()
