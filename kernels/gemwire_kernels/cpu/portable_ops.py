"""`Ops` by PyTorch alone: oneDNN multiplies weights that it has packed, the reference does the rest.

oneDNN compiles code for every number of rows that it multiplies, some 0.5 MB for each shape of weight,
and PyTorch keeps it for good. So products have one of a few numbers of rows (`ROWS`): rows of zeros
fill the last product up. Attention is computed in fp32, whose products are not oneDNN's.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gemwire_kernels import reference
from gemwire_kernels.formats import INT8_ROWS, Stored, WeightFormat, check_offered
from gemwire_kernels.ops import Batch, RotaryTable
from gemwire_kernels.tensors import FORMAT_OF, to_tensor

NAME = "the CPU's operations"
# The number of rows that oneDNN packs a weight for; the layout serves any number.
PACKING_ROWS = 256
# Numbers of rows of a product, ascending; more rows are several products. A product takes as long as its
# weight takes to read (as some 30 rows on a Zen 5) and its rows to multiply: so sizes are closer where
# products are small. All are multiples of an AMX tile's 16 rows, but for 24, which is for queries.
ROWS = (16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)


class PortableWeight(NamedTuple):
    """`values`: packed by oneDNN, or [out, in], then in int8 if there are fp32 scales [out]."""

    values: Tensor
    scales: Tensor | None
    packed: bool


def multiplied(dtype: torch.dtype) -> tuple[WeightFormat, ...]:
    """The formats of weights that the CPU's operations multiply by activations of `dtype`."""
    return FORMAT_OF[dtype], INT8_ROWS


class PortableOps:
    """`dtype` is that of activations. Weights and the embedding are packed to the format `weights`.

    Raises FormatError unless `weights` is among `multiplied(dtype)`.
    """

    rotary_dtype = reference.rotary_dtype

    def __init__(self, dtype: torch.dtype, *, weights: WeightFormat) -> None:
        check_offered(weights, multiplied(dtype), NAME)
        int8 = weights is INT8_ROWS
        self.formats: tuple[WeightFormat, ...] = (FORMAT_OF[dtype],)
        self._dtype = dtype
        self._int8 = int8
        self._onednn = torch.backends.mkldnn.is_available()
        self.products = "ATen int8" if int8 else "oneDNN" if self._onednn else "ATen"
        self.name = f"portable, {self.products} products"
        self._prepared: set[torch.Size] = set()

    def pack(self, weight: Stored) -> PortableWeight:
        return self.pack_tensor(to_tensor(weight, self.formats, NAME))

    def pack_tensor(self, weight: Tensor) -> PortableWeight:
        """Packs a weight [out, in] in the dtype of activations, as `pack` does."""
        packed = self._pack(weight)
        if weight.shape not in self._prepared:
            # Allocates the memory of every product at load, not in service.
            self._prepared.add(weight.shape)
            for rows in ROWS:
                self._multiply(weight.new_zeros(rows, weight.shape[1], dtype=self._dtype), packed)
        return packed

    def _pack(self, weight: Tensor) -> PortableWeight:
        if self._int8:
            return PortableWeight(*quantize(weight), packed=False)
        if not self._onednn:
            return PortableWeight(weight, None, packed=False)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, PACKING_ROWS)
        return PortableWeight(packed, None, packed=True)

    def pack_embedding(self, table: Stored) -> PortableWeight:
        rows = to_tensor(table, self.formats, NAME)
        if not self._int8:
            return PortableWeight(rows, None, packed=False)
        return PortableWeight(*quantize(rows), packed=False)

    def place(
        self,
        input_ids: NDArray[np.int32],
        positions: NDArray[np.int32],
        cu_seqlens: NDArray[np.int32],
    ) -> Batch:
        return reference.place(input_ids, positions, cu_seqlens)

    def embed_norm(
        self, batch: Batch, embedding: PortableWeight, scale: float, norm: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        residual = F.embedding(batch.input_ids, embedding.values).float().mul_(scale)
        if embedding.scales is not None:
            residual *= embedding.scales[batch.input_ids, None]
        return residual, reference.rms_norm(residual, norm, eps).to(self._dtype)

    def qkv_norm_rope(
        self,
        batch: Batch,
        x: Tensor,
        qkv_proj: PortableWeight,
        q_norm: Tensor,
        k_norm: Tensor,
        rotary: RotaryTable,
        num_heads: int,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        stacked = self.linear(batch, x, qkv_proj)
        return reference.norm_rope(batch, stacked, q_norm, k_norm, rotary, num_heads, eps)

    def attention(
        self, batch: Batch, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        out = reference.attention(batch, q.float(), k.float(), v.float(), scale, window)
        return out.to(q.dtype)

    def linear(self, batch: Batch, x: Tensor, weight: PortableWeight) -> Tensor:
        return in_few_sizes(lambda rows: self._multiply(rows, weight), x)

    def _multiply(self, x: Tensor, weight: PortableWeight) -> Tensor:
        if weight.scales is not None:
            values, scales = quantize(x)
            sums = torch._int_mm(values, weight.values.t())
            return (sums.float() * weight.scales * scales[:, None]).to(x.dtype)
        if not weight.packed:
            return F.linear(x, weight.values)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight.values, None, "none", [], "")
        return product

    def norm_residual_norm(
        self,
        batch: Batch,
        y: Tensor,
        residual: Tensor,
        post_norm: Tensor,
        next_norm: Tensor,
        eps: float,
    ) -> Tensor:
        return reference.norm_residual_norm(batch, y, residual, post_norm, next_norm, eps)

    def gate_up_geglu(self, batch: Batch, x: Tensor, gate_up_proj: PortableWeight) -> Tensor:
        return reference.geglu(self.linear(batch, x, gate_up_proj))

    def pool(self, batch: Batch, residual: Tensor, norm: Tensor, eps: float) -> Tensor:
        return reference.pool(batch, residual, norm, eps)

    def head(
        self, batch: Batch, pooled: Tensor, dense: Tensor, *, normalize: bool = True
    ) -> Tensor:
        return reference.head(batch, pooled, dense, normalize=normalize)


def in_few_sizes(multiply: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Computes multiply(x) for x [n, m] by products whose numbers of rows are in `ROWS`.

    `multiply` must compute each row independently of the others.
    """
    products = []
    for part in x.split(ROWS[-1]):
        size = next(rows for rows in ROWS if rows >= len(part))
        padded = part if size == len(part) else F.pad(part, (0, 0, 0, size - len(part)))
        products.append(multiply(padded)[: len(part)])
    return products[0] if len(products) == 1 else torch.cat(products)


def quantize(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns int8 [n, m] and fp32 scales [n]; the largest magnitude of each row becomes 127."""
    rows = x.float()
    scales = rows.abs().amax(dim=1) / 127
    return (rows / scales.clamp_min(1e-30)[:, None]).round_().to(torch.int8), scales
