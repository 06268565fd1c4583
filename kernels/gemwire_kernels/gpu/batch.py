"""A packed batch in the device's memory: one block of int32, filled by one copy.

Every count and length is data in that block, never a launch parameter, so that kernels captured once run
every batch that fits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gemwire_kernels.gpu.tiles import TileSet
from gemwire_kernels.ops import Batch

# Sections start at multiples of 16 bytes, as vector loads require.
ALIGNMENT = 4

Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The sizes of attention, which decide the layout of tiles and values."""

    num_heads: int
    num_kv_heads: int
    head_dim: int

    @property
    def group(self) -> int:
        """The number of query heads that share a kv head."""
        return self.num_heads // self.num_kv_heads


class Plan(NamedTuple):
    """What the kernels need besides ids and positions; int32.

    counts [4]: tokens, texts and tiles of this batch, 0. The rows of attention are a text's tokens, each
    as often as query heads share a kv head (`group`); tile i covers those of text tile_text[i] from row
    tile_row[i] on, as many as attention's tile has; text j's tiles are cu_tiles[j] to cu_tiles[j + 1].
    What is beyond the counts is left from earlier batches. values [T, kv heads, head_dim] is where v of
    each layer goes: nothing that is not finite is ever in it. copy_engine: whether the card has one (see
    gemwire_kernels.gpu.matmul).
    """

    tiles: TileSet
    group: int
    multiprocessors: int
    copy_engine: bool
    values: Tensor
    counts: Tensor
    cu_tiles: Tensor
    tile_text: Tensor
    tile_row: Tensor

    @property
    def chained(self) -> bool:
        """Whether kernels are launched as gemwire_kernels.gpu.launch says; cards with an engine can."""
        return self.tiles.chained and self.copy_engine

    def programs(self, work: int, per_multiprocessor: int = 1) -> tuple[int]:
        """Returns a grid for at most `work` pieces, which the kernel walks with a stride of the grid."""
        return (max(1, min(work, per_multiprocessor * self.multiprocessors)),)


class Block:
    """Memory on the device for batches of up to `capacity` tokens."""

    def __init__(
        self,
        capacity: int,
        tiles: TileSet,
        attention: Attention,
        multiprocessors: int,
        dtype: torch.dtype,
        device: torch.device,
        *,
        copy_engine: bool = True,
    ) -> None:
        """`dtype` is the serving dtype."""
        self.capacity = capacity
        # No more texts than tokens; nor tiles, which have at least a token's rows.
        sections = {
            "counts": ALIGNMENT,
            "input_ids": capacity,
            "positions": capacity,
            "cu_seqlens": capacity + 1,
            "cu_tiles": capacity + 1,
            "tile_text": capacity,
            "tile_row": capacity,
        }
        self._slices = dict(_aligned(sections))
        self._size = max(part.stop for part in self._slices.values())
        self._memory = torch.zeros(self._size, dtype=torch.int32, device=device)
        view = {name: self._memory[part] for name, part in self._slices.items()}
        ids, positions, cu_seqlens = (
            view.pop(name) for name in ("input_ids", "positions", "cu_seqlens")
        )
        values = torch.zeros(
            capacity, attention.num_kv_heads, attention.head_dim, dtype=dtype, device=device
        )
        plan = Plan(tiles, attention.group, multiprocessors, copy_engine, values, **view)
        self.batch = Batch(ids, positions, cu_seqlens, plan)

    def host(self) -> Tensor:
        """Returns host memory for `fill` and `upload`, pinned where that makes the copy asynchronous."""
        return torch.zeros(self._size, dtype=torch.int32, pin_memory=self._memory.is_cuda)

    def fill(self, host: Tensor, input_ids: Ids, positions: Ids, cu_seqlens: Ids) -> None:
        """Writes a batch, int32 [T], [T] and [n + 1]. Raises ValueError if it does not fit."""
        texts = len(cu_seqlens) - 1
        if max(len(input_ids), texts) > self.capacity:
            raise ValueError(f"{len(input_ids)} tokens in {texts} texts do not fit {self.capacity}")
        tile_rows = self.batch.plan.tiles.attention.block_m
        tiles = -(-np.diff(cu_seqlens) * self.batch.plan.group // tile_rows)
        cu_tiles = np.concatenate(([0], np.cumsum(tiles)))
        tile_text = np.repeat(np.arange(texts), tiles)
        tile_row = (np.arange(len(tile_text)) - cu_tiles[tile_text]) * tile_rows
        memory = host.numpy()
        for name, values in {
            "counts": (len(input_ids), texts, len(tile_text), 0),
            "input_ids": input_ids,
            "positions": positions,
            "cu_seqlens": cu_seqlens,
            "cu_tiles": cu_tiles,
            "tile_text": tile_text,
            "tile_row": tile_row,
        }.items():
            start = self._slices[name].start
            memory[start : start + len(values)] = values

    def upload(self, host: Tensor) -> None:
        """Copies a filled host block; asynchronous on the current stream if it is pinned."""
        self._memory.copy_(host, non_blocking=True)


def _aligned(sections: dict[str, int]) -> Iterator[tuple[str, slice]]:
    start = 0
    for name, size in sections.items():
        yield name, slice(start, start + size)
        start += -(-size // ALIGNMENT) * ALIGNMENT
