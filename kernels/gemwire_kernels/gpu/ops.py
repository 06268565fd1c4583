"""`GpuOps`: the operations of gemwire_kernels.ops as Triton kernels."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gemwire_kernels.formats import Stored, WeightFormat
from gemwire_kernels.gpu.attention import attention
from gemwire_kernels.gpu.batch import Attention, Block
from gemwire_kernels.gpu.embed_norm import embed_norm
from gemwire_kernels.gpu.gate_up_geglu import gate_up_geglu
from gemwire_kernels.gpu.head import head
from gemwire_kernels.gpu.linear import linear
from gemwire_kernels.gpu.matmul import MOST_AT_ONCE, has_copy_engine
from gemwire_kernels.gpu.norm_residual_norm import norm_residual_norm
from gemwire_kernels.gpu.pool import pool
from gemwire_kernels.gpu.qkv_norm_rope import ROTARY_DTYPES, qkv_norm_rope
from gemwire_kernels.gpu.tiles import TileTable, find_table
from gemwire_kernels.ops import Batch, RotaryTable
from gemwire_kernels.tensors import FORMAT_OF, to_tensor

HEAD_DIMS = (32, 64, 128, 256)
ROW_ALIGNMENT = 16  # bytes


class GpuOps:
    """Satisfies `Ops`. Rows of a batch beyond its tokens, and texts beyond its texts, are not computed and
    may hold anything."""

    def __init__(
        self,
        attention: Attention,
        table: TileTable,
        *,
        dtype: torch.dtype,
        device: torch.device,
        multiprocessors: int,
        copy_engine: bool = True,
        residual_dtype: torch.dtype = torch.float32,
        deterministic: bool = True,
    ) -> None:
        """`deterministic`: the same text has the same bits in every batch; else o_proj and down_proj go
        through cuBLAS, which chooses its order of summation by the batch's size. `copy_engine`: whether
        the card has one, as Hopper and newer do.

        Raises ValueError for sizes of attention that the kernels do not have.
        """
        if attention.head_dim not in HEAD_DIMS:
            raise ValueError(
                f"head_dim is {attention.head_dim}; the GPU kernels have "
                f"{', '.join(map(str, HEAD_DIMS))}"
            )
        rows = table.sets[0].attention.block_m
        if attention.group > rows:
            raise ValueError(
                f"{attention.group} query heads share a kv head; {table.source} has tiles of {rows}"
            )
        self.table = table
        self._attention = attention
        self._dtype = dtype
        self._device = device
        self._multiprocessors = multiprocessors
        self._residual_dtype = residual_dtype
        self.deterministic = deterministic
        self._copy_engine = copy_engine

    @classmethod
    def on(
        cls,
        device: torch.device,
        attention: Attention,
        dtype: torch.dtype,
        *,
        tile_file: Path | None = None,
        residual_dtype: torch.dtype = torch.float32,
        deterministic: bool = True,
    ) -> "GpuOps":
        """Makes the operations for a CUDA device, with the tile sizes for its model."""
        properties = torch.cuda.get_device_properties(device)
        table = find_table(
            properties.name,
            properties.shared_memory_per_block_optin,
            str(dtype).removeprefix("torch."),
            tile_file,
            major=properties.major,
        )
        return cls(
            attention,
            table,
            dtype=dtype,
            device=device,
            multiprocessors=properties.multi_processor_count,
            copy_engine=has_copy_engine(properties.major),
            residual_dtype=residual_dtype,
            deterministic=deterministic,
        )

    @property
    def rotary_dtype(self) -> torch.dtype:
        return ROTARY_DTYPES[self._dtype]

    def block(self, capacity: int) -> Block:
        """Allocates memory for batches of up to `capacity` tokens."""
        return Block(
            capacity,
            self.table.for_tokens(capacity),
            self._attention,
            self._multiprocessors,
            self._dtype,
            self._device,
            copy_engine=self._copy_engine,
        )

    @property
    def formats(self) -> tuple[WeightFormat, ...]:
        return (FORMAT_OF[self._dtype],)

    def pack(self, weight: Stored) -> Tensor:
        """Copies the rows to the device. Raises ValueError if the copy engine cannot address them.

        Weights come before the first block: rows that are too long to be taken at once leave all blocks
        without tiles that would.
        """
        rows = self.pack_embedding(weight)
        if rows.shape[1] > MOST_AT_ONCE:
            self.table = self.table.in_steps()
        if rows.shape[1] * rows.element_size() % ROW_ALIGNMENT:
            raise ValueError(
                f"a weight has rows of {rows.shape[1]} numbers; the GPU kernels need multiples of "
                f"{ROW_ALIGNMENT // rows.element_size()}"
            )
        return rows

    def pack_embedding(self, table: Stored) -> Tensor:
        return to_tensor(table, self.formats, "the GPU kernels").to(self._device)

    def place(
        self,
        input_ids: NDArray[np.int32],
        positions: NDArray[np.int32],
        cu_seqlens: NDArray[np.int32],
    ) -> Batch:
        """Places the batch in a block of its own, of just the size."""
        block = self.block(max(1, len(input_ids), len(cu_seqlens) - 1))
        host = block.host()
        block.fill(host, input_ids, positions, cu_seqlens)
        block.upload(host)
        return block.batch

    def embed_norm(
        self, batch: Batch, embedding: Tensor, scale: float, norm: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        return embed_norm(
            batch.plan, batch.input_ids, embedding, scale, norm, eps, self._residual_dtype
        )

    def qkv_norm_rope(
        self,
        batch: Batch,
        x: Tensor,
        qkv_proj: Tensor,
        q_norm: Tensor,
        k_norm: Tensor,
        rotary: RotaryTable,
        num_heads: int,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        return qkv_norm_rope(
            batch.plan, x, qkv_proj, q_norm, k_norm, rotary, batch.positions, num_heads, eps
        )

    def attention(
        self, batch: Batch, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        return attention(batch.plan, q, k, v, batch.cu_seqlens, scale, window)

    def linear(self, batch: Batch, x: Tensor, weight: Tensor) -> Tensor:
        return linear(batch.plan, x, weight) if self.deterministic else F.linear(x, weight)

    def norm_residual_norm(
        self,
        batch: Batch,
        y: Tensor,
        residual: Tensor,
        post_norm: Tensor,
        next_norm: Tensor,
        eps: float,
    ) -> Tensor:
        return norm_residual_norm(batch.plan, y, residual, post_norm, next_norm, eps)

    def gate_up_geglu(self, batch: Batch, x: Tensor, gate_up_proj: Tensor) -> Tensor:
        return gate_up_geglu(batch.plan, x, gate_up_proj)

    def pool(self, batch: Batch, residual: Tensor, norm: Tensor, eps: float) -> Tensor:
        return pool(batch.plan, residual, norm, batch.cu_seqlens, eps)

    def head(
        self, batch: Batch, pooled: Tensor, dense: Tensor, *, normalize: bool = True
    ) -> Tensor:
        return head(batch.plan, pooled, dense, normalize=normalize)
