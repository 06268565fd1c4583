"""Defines what a runner calls on an encoder of any family."""

from typing import TYPE_CHECKING, Protocol

from gemwire_server.models.config import EncoderConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gemwire_kernels.ops import Batch, Ops


class Encoder(Protocol):
    """Turns token ids into one unit vector a text."""

    @property
    def config(self) -> EncoderConfig: ...

    @property
    def ops(self) -> "Ops": ...

    @property
    def dtype(self) -> "torch.dtype":
        """The dtype of activations."""

    @property
    def dimensions(self) -> int:
        """The size of a vector."""

    def forward(self, batch: "Batch") -> "Tensor":
        """Turns a batch that `ops.place` made into fp32 [n, dimensions], rows of length one."""

    def with_ops(self, ops: "Ops") -> "Encoder":
        """Returns an encoder of the same packed weights that calls the operations of another backend."""
