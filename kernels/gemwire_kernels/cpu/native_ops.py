"""`Ops` by the native library: every operation is one pass, and products take packed weights.

Where the library multiplies, a row's result has the same bits whatever the other rows of its batch
are: a sum has one order in every batch.
"""

import ctypes
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gemwire_kernels import reference
from gemwire_kernels.cpu import bindings
from gemwire_kernels.cpu.bindings import CWeight, Kind
from gemwire_kernels.cpu.portable_ops import NAME, PortableOps, PortableWeight
from gemwire_kernels.formats import BFLOAT16, FLOAT32, INT8_ROWS, Stored, WeightFormat
from gemwire_kernels.ops import Batch, RotaryTable
from gemwire_kernels.tensors import to_tensor

KINDS = {FLOAT32: Kind.FLOAT32, BFLOAT16: Kind.BFLOAT16, INT8_ROWS: Kind.INT8}
# Numbers of a 32-bit word along the summed dimension.
PER_WORD = {Kind.FLOAT32: 1, Kind.BFLOAT16: 2, Kind.INT8: 4}


@dataclass(frozen=True, slots=True)
class NativeWeight:
    """A weight [out, in] in the library's layout; `address` points into `memory`."""

    address: CWeight
    out_features: int
    memory: tuple[Tensor, ...]


AnyWeight = NativeWeight | PortableWeight


@dataclass(frozen=True, slots=True)
class NativeEmbedding:
    """Rows in the serving dtype, or int8 with fp32 scales [vocab]."""

    kind: Kind
    rows: Tensor
    scales: Tensor | None


class NativeOps:
    """Raises build.BuildError if there is no library.

    `dtype` is that of activations. Weights and the embedding are packed to the format `weights`.
    `products` False leaves products in `dtype` to oneDNN, for CPUs whose matrix units oneDNN uses and
    the library does not. Raises FormatError unless `weights` is among `portable_ops.multiplied(dtype)`.
    """

    rotary_dtype = reference.rotary_dtype

    def __init__(
        self, dtype: torch.dtype, *, weights: WeightFormat, threads: int, products: bool
    ) -> None:
        self._library = bindings.library()
        self._portable = PortableOps(dtype, weights=weights)
        self.formats = self._portable.formats
        self._dtype = dtype
        self._half = int(dtype is torch.bfloat16)
        self._threads = threads
        self._lanes: int = self._library.gemwire_lanes()
        self._kind = kind = KINDS[weights]
        int8 = kind is Kind.INT8
        self._multiplies = (int8 or products) and bool(self._library.gemwire_multiplies(kind))
        own = "int8" if int8 else "own"
        self.name = f"native, {own if self._multiplies else self._portable.products} products"
        self.exact = self._multiplies
        """Whether a row's result is the same to the bit in every batch."""

    def pack(self, weight: Stored) -> AnyWeight:
        columns, depth = weight.shape
        rows = to_tensor(weight, self.formats, NAME)
        if not self._multiplies or depth % PER_WORD[self._kind]:
            return self._portable.pack_tensor(rows)
        padded = -columns % (2 * self._lanes) + columns
        int8 = self._kind is Kind.INT8
        blocks = torch.zeros(padded, depth, dtype=torch.int8 if int8 else self._dtype)
        scales, sums = torch.zeros(padded * int8), torch.zeros(padded * int8, dtype=torch.int32)
        self._library.gemwire_pack(
            self._kind, self._half, rows.data_ptr(), columns, depth,
            blocks.data_ptr(), scales.data_ptr(), sums.data_ptr(),
        )  # fmt: skip
        address = CWeight(
            self._kind, columns, depth, blocks.data_ptr(), scales.data_ptr(), sums.data_ptr()
        )
        return NativeWeight(address, columns, (blocks, scales, sums))

    def pack_embedding(self, table: Stored) -> NativeEmbedding:
        values = to_tensor(table, self.formats, NAME)
        if self._kind is not Kind.INT8:
            return NativeEmbedding(self._kind, values, None)
        rows, scales = torch.empty_like(values, dtype=torch.int8), torch.empty(len(values))
        self._library.gemwire_quantize(
            self._half, values.data_ptr(), *values.shape, rows.data_ptr(), scales.data_ptr()
        )
        return NativeEmbedding(Kind.INT8, rows, scales)

    def place(
        self,
        input_ids: NDArray[np.int32],
        positions: NDArray[np.int32],
        cu_seqlens: NDArray[np.int32],
    ) -> Batch:
        """Places the batch as the reference does; the library reads the bounds of the texts alone."""
        return reference.place(input_ids, positions, cu_seqlens)

    def embed_norm(
        self, batch: Batch, embedding: NativeEmbedding, scale: float, norm: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        rows, hidden = len(batch.input_ids), len(norm)
        residual, x = torch.empty(rows, hidden), torch.empty(rows, hidden, dtype=self._dtype)
        scales = 0 if embedding.scales is None else embedding.scales.data_ptr()
        self._library.gemwire_embed_norm(
            embedding.kind, self._half, batch.input_ids.data_ptr(), rows, embedding.rows.data_ptr(),
            scales, scale, norm.data_ptr(), hidden, eps, residual.data_ptr(), x.data_ptr(),
            self._threads,
        )  # fmt: skip
        return residual, x

    def qkv_norm_rope(
        self,
        batch: Batch,
        x: Tensor,
        qkv_proj: AnyWeight,
        q_norm: Tensor,
        k_norm: Tensor,
        rotary: RotaryTable,
        num_heads: int,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, dim = len(x), len(q_norm)
        weight = None
        if isinstance(qkv_proj, NativeWeight):
            weight, columns = ctypes.byref(qkv_proj.address), qkv_proj.out_features
        else:
            x = self._portable.linear(batch, x, qkv_proj)
            columns = x.shape[1]
        kv_heads = (columns // dim - num_heads) // 2
        q, k, v = (
            torch.empty(rows, heads, dim, dtype=self._dtype)
            for heads in (num_heads, kv_heads, kv_heads)
        )
        self._library.gemwire_qkv_norm_rope(
            weight, self._half, x.data_ptr(), batch.positions.data_ptr(), rows, num_heads, kv_heads,
            dim, q_norm.data_ptr(), k_norm.data_ptr(), rotary.cos.data_ptr(), rotary.sin.data_ptr(),
            eps, q.data_ptr(), k.data_ptr(), v.data_ptr(), self._threads,
        )  # fmt: skip
        return q, k, v

    def attention(
        self, batch: Batch, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        heads, dim = q.shape[1:]
        if dim % (2 * self._lanes):
            return self._portable.attention(batch, q, k, v, scale, window)
        out = torch.empty(len(q), heads * dim, dtype=q.dtype)
        self._library.gemwire_attention(
            self._half, q.data_ptr(), k.data_ptr(), v.data_ptr(), batch.cu_seqlens.data_ptr(),
            len(batch.cu_seqlens) - 1, heads, k.shape[1], dim, scale,
            -1 if window is None else window, out.data_ptr(), self._threads,
        )  # fmt: skip
        return out

    def linear(self, batch: Batch, x: Tensor, weight: AnyWeight) -> Tensor:
        if not isinstance(weight, NativeWeight):
            return self._portable.linear(batch, x, weight)
        out = torch.empty(len(x), weight.out_features, dtype=self._dtype)
        self._library.gemwire_linear(
            ctypes.byref(weight.address), self._half, x.data_ptr(), len(x), out.data_ptr(),
            self._threads,
        )  # fmt: skip
        return out

    def norm_residual_norm(
        self,
        batch: Batch,
        y: Tensor,
        residual: Tensor,
        post_norm: Tensor,
        next_norm: Tensor,
        eps: float,
    ) -> Tensor:
        x = torch.empty_like(y)
        self._library.gemwire_norm_residual_norm(
            self._half, y.data_ptr(), residual.data_ptr(), post_norm.data_ptr(),
            next_norm.data_ptr(), *y.shape, eps, x.data_ptr(), self._threads,
        )  # fmt: skip
        return x

    def gate_up_geglu(self, batch: Batch, x: Tensor, gate_up_proj: AnyWeight) -> Tensor:
        if isinstance(gate_up_proj, NativeWeight):
            middle, rest = divmod(gate_up_proj.out_features, 2)
            if not rest and middle % self._lanes == 0:
                out = torch.empty(len(x), middle, dtype=self._dtype)
                self._library.gemwire_gate_up_geglu(
                    ctypes.byref(gate_up_proj.address), self._half, x.data_ptr(), len(x),
                    out.data_ptr(), self._threads,
                )  # fmt: skip
                return out
        stacked = self.linear(batch, x, gate_up_proj)
        out = torch.empty(len(x), stacked.shape[1] // 2, dtype=self._dtype)
        self._library.gemwire_geglu(
            self._half, stacked.data_ptr(), *out.shape, out.data_ptr(), self._threads
        )
        return out

    def pool(self, batch: Batch, residual: Tensor, norm: Tensor, eps: float) -> Tensor:
        texts, hidden = len(batch.cu_seqlens) - 1, len(norm)
        out = torch.empty(texts, hidden)
        self._library.gemwire_pool(
            residual.data_ptr(), batch.cu_seqlens.data_ptr(), texts, norm.data_ptr(), hidden, eps,
            out.data_ptr(), self._threads,
        )  # fmt: skip
        return out

    def head(
        self, batch: Batch, pooled: Tensor, dense: Tensor, *, normalize: bool = True
    ) -> Tensor:
        texts, (dimensions, hidden) = len(pooled), dense.shape
        out = torch.empty(texts, dimensions)
        self._library.gemwire_head(
            pooled.data_ptr(), texts, dense.data_ptr(), dimensions, hidden, normalize,
            out.data_ptr(), self._threads,
        )  # fmt: skip
        return out
