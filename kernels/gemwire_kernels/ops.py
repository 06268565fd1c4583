"""The operations of a text encoder, cut where kernels fuse.

A backend offers these functions, as a module or an object. T is the number of rows of a packed
batch, n the number of its texts. "dtype" is the serving dtype of activations (bfloat16 or float32);
fp32 is float32 in every backend. Norm weights are the factors themselves, in fp32: a family has
added its 1 already.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gemwire_kernels.formats import Stored, WeightFormat

Weight = Any
"""A matrix in the layout of the backend that packed it."""

Embedding = Any
"""The embedding table in the layout of the backend that packed it."""


class RotaryTable(NamedTuple):
    """The cosine and sine of every angle, [max positions, head_dim / 2] in the backend's `rotary_dtype`."""

    cos: Tensor
    sin: Tensor


class Batch(NamedTuple):
    """A packed batch on the device of the operations.

    input_ids and positions: int32 [T]; cu_seqlens: int32 [n + 1], the start of each text; plan:
    data that the backend derived from cu_seqlens for its own operations.
    """

    input_ids: Tensor
    positions: Tensor
    cu_seqlens: Tensor
    plan: Any


class Ops(Protocol):
    """The interface of a backend."""

    @property
    def rotary_dtype(self) -> torch.dtype:
        """The dtype of the rotary tables."""

    @property
    def formats(self) -> tuple[WeightFormat, ...]:
        """The formats of weights that `pack` and `pack_embedding` take."""

    def pack(self, weight: Stored) -> Weight:
        """Puts a weight [out, in] into the backend's layout, on its device; once, at load.

        Raises FormatError for a format that is not among `formats`.
        """

    def pack_embedding(self, table: Stored) -> Embedding:
        """Does the same for the embedding table [vocab, hidden]."""

    def place(
        self,
        input_ids: NDArray[np.int32],
        positions: NDArray[np.int32],
        cu_seqlens: NDArray[np.int32],
    ) -> Batch:
        """Puts a packed batch, int32 [T], [T] and [n + 1], where the operations run."""

    def embed_norm(
        self, batch: Batch, embedding: Embedding, scale: float, norm: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """residual = embedding[input_ids] * scale (fp32 [T, hidden]); x = rms_norm(residual) (dtype)."""

    def qkv_norm_rope(
        self,
        batch: Batch,
        x: Tensor,
        qkv_proj: Weight,
        q_norm: Tensor,
        k_norm: Tensor,
        rotary: RotaryTable,
        num_heads: int,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """q [T, heads, head_dim], k and v [T, kv heads, head_dim] of x [T, hidden].

        `qkv_proj` stacks the rows of q (`num_heads` heads), k and v; the heads of q and k are normed,
        then rotated by their positions.
        """

    def attention(
        self, batch: Batch, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        """Each token attends to its own text, both ways; [T, heads * head_dim].

        `window` w allows |i - j| <= w, None allows all.
        """

    def linear(self, batch: Batch, x: Tensor, weight: Weight) -> Tensor:
        """x [T, in] times the weight, transposed: [T, out]."""

    def norm_residual_norm(
        self,
        batch: Batch,
        y: Tensor,
        residual: Tensor,
        post_norm: Tensor,
        next_norm: Tensor,
        eps: float,
    ) -> Tensor:
        """residual += rms_norm(y) * post_norm, in place; returns rms_norm(residual) * next_norm."""

    def gate_up_geglu(self, batch: Batch, x: Tensor, gate_up_proj: Weight) -> Tensor:
        """gelu_tanh(gate) * up, [T, intermediate]; `gate_up_proj` stacks the rows of both."""

    def pool(self, batch: Batch, residual: Tensor, norm: Tensor, eps: float) -> Tensor:
        """Mean over each text of rms_norm(residual) * norm; fp32 [n, hidden]; zero for an empty text."""

    def head(
        self, batch: Batch, pooled: Tensor, dense: Tensor, *, normalize: bool = True
    ) -> Tensor:
        """pooled times dense [dimensions, hidden], transposed; all fp32. With `normalize` each row has
        length one.

        Fewer rows of dense make the vectors of a smaller Matryoshka size.
        """
