"""Reads safetensors files into memory that is laid out already. Each tensor must be used exactly once.

Files are read a slice at a time, so that reading needs the memory of one slice beyond the weights.
A mapped page counts until its mapping is closed, so each slice has a mapping of its own.
"""

from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from gemwire_server.errors import CheckpointError

SLICE_BYTES = 32 << 20


def read_into(targets: dict[str, Tensor], files: list[Path]) -> None:
    """Fills the tensor of each name, and removes the name from `targets`.

    Raises CheckpointError for a tensor of the files that is not among them, and for one that is missing.
    """
    for file in files:
        names = _names(file)
        # In files saved from the causal class, all names carry its prefix.
        prefix = "model." if all(name.startswith("model.") for name in names) else ""
        for name in names:
            target = targets.pop(name.removeprefix(prefix), None)
            if target is None:
                raise CheckpointError(
                    f"{file}: tensor {name} is not part of the encoder, or comes twice; it would be ignored"
                )
            for rows, values in _slices(file, name, target):
                target[rows].copy_(values)
    if targets:
        raise CheckpointError(
            f"{files[0].parent}: {len(targets)} tensors are missing, the first is {next(iter(targets))}"
        )


def _names(file: Path) -> list[str]:
    try:
        with safe_open(file, "pt") as opened:
            return list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: not a whole safetensors file: {error}") from None


def _slices(file: Path, name: str, target: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yields the values of a tensor, some rows at a time, each part from a mapping of its own."""
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
