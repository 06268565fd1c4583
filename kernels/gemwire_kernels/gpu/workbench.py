"""Makes random batches and weights of a model's sizes, to time and check operations."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gemwire_kernels.gpu.batch import Attention, Block
from gemwire_kernels.gpu.matmul import has_copy_engine
from gemwire_kernels.gpu.tiles import TileSet
from gemwire_kernels.ops import Batch, RotaryTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of a model that its operations depend on."""

    attention: Attention
    hidden: int
    intermediate: int
    window: int
    positions: int

    @property
    def head_rows(self) -> int:
        """Rows of q, k and v in the stacked projection."""
        heads = self.attention.num_heads + 2 * self.attention.num_kv_heads
        return heads * self.attention.head_dim


EMBEDDINGGEMMA = Sizes(
    attention=Attention(num_heads=3, num_kv_heads=1, head_dim=256),
    hidden=768,
    intermediate=1152,
    window=256,
    positions=2048,
)


class Inputs(NamedTuple):
    """Random inputs of one set of sizes; weights are laid out as the encoder's, norms are 1 + w."""

    x: Tensor
    h: Tensor
    heads: Tensor
    qkv_proj: Tensor
    o_proj: Tensor
    gate_up_proj: Tensor
    down_proj: Tensor
    head_norm: Tensor
    rotary: RotaryTable


class Workbench:
    """Makes inputs on one device, from one seed."""

    def __init__(
        self, sizes: Sizes, dtype: torch.dtype, device: torch.device, seed: int = 0
    ) -> None:
        self.sizes, self.dtype, self.device = sizes, dtype, device
        properties = torch.cuda.get_device_properties(device)
        self.multiprocessors = properties.multi_processor_count
        self.shared_memory = properties.shared_memory_per_block_optin
        self.l2_bytes = properties.L2_cache_size
        self.major = properties.major
        self.copy_engine = has_copy_engine(self.major)
        # Each batch has other ids, as repeated rows of the embedding would come from the L2.
        self._ids = np.random.default_rng(seed)
        self._generator = torch.Generator(device).manual_seed(seed)

    def normal(self, *shape: int, scale: float = 1.0, dtype: torch.dtype | None = None) -> Tensor:
        values = torch.empty(shape, dtype=torch.float32, device=self.device)
        values.normal_(0.0, scale, generator=self._generator)
        return values.to(dtype or self.dtype)

    def weight(self, rows: int, columns: int) -> Tensor:
        """Makes a random weight whose products with normal values are normal again."""
        return self.normal(rows, columns, scale=columns**-0.5)

    def norm(self, size: int) -> Tensor:
        return 1 + self.normal(size, scale=0.3, dtype=torch.float32)

    def rotary(self, dtype: torch.dtype) -> RotaryTable:
        half = self.sizes.attention.head_dim // 2
        rates = 1e4 ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.outer(torch.arange(self.sizes.positions, dtype=torch.float64), rates)
        return RotaryTable(*(t.to(self.device, dtype) for t in (angles.cos(), angles.sin())))

    def batch(self, lengths: NDArray[np.int32], tiles: TileSet, vocabulary: int = 1 << 16) -> Batch:
        """Makes texts of these lengths with random ids, in a block of just their size."""
        cu_seqlens = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        tokens = int(cu_seqlens[-1])
        block = Block(
            tokens,
            tiles,
            self.sizes.attention,
            self.multiprocessors,
            self.dtype,
            self.device,
            copy_engine=self.copy_engine,
        )
        positions = np.arange(tokens, dtype=np.int32) - np.repeat(cu_seqlens[:-1], lengths)
        ids = self._ids.integers(0, vocabulary, tokens).astype(np.int32)
        host = block.host()
        block.fill(host, ids, positions, cu_seqlens)
        block.upload(host)
        torch.cuda.synchronize(self.device)  # before the host's block is freed
        return block.batch

    def inputs(self, tokens: int, rotary: RotaryTable) -> Inputs:
        sizes, attention = self.sizes, self.sizes.attention
        q_size = attention.num_heads * attention.head_dim
        return Inputs(
            x=self.normal(tokens, sizes.hidden),
            h=self.normal(tokens, sizes.intermediate),
            heads=self.normal(tokens, q_size),
            qkv_proj=self.weight(sizes.head_rows, sizes.hidden),
            o_proj=self.weight(sizes.hidden, q_size),
            gate_up_proj=self.weight(2 * sizes.intermediate, sizes.hidden),
            down_proj=self.weight(sizes.hidden, sizes.intermediate),
            head_norm=self.norm(attention.head_dim),
            rotary=rotary,
        )


def lengths_of(tokens: int, length: int) -> NDArray[np.int32]:
    """Returns as many texts of `length` as `tokens` hold, and one of the tokens left over."""
    lengths = [length] * (tokens // length) + [tokens % length] * (tokens % length > 0)
    return np.array(lengths, dtype=np.int32)


def mixed_lengths(tokens: int, seed: int = 0) -> NDArray[np.int32]:
    """Draws lognormal lengths: median 40 tokens, sigma 0.9, 8 to 600. The last is cut so that they
    sum to `tokens`.
    """
    random = np.random.default_rng(seed)
    lengths = np.clip(random.lognormal(np.log(40), 0.9, tokens), 8, 600).astype(np.int32)
    ends = np.minimum(np.cumsum(lengths), tokens)
    cut = np.diff(ends, prepend=0)
    return cut[cut > 0].astype(np.int32)
