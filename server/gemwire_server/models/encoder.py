"""What an encoder of any family offers to the runners."""

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
        """A batch that `ops.place` made, to fp32 [n, dimensions] of length one."""

    def with_ops(self, ops: "Ops") -> "Encoder":
        """The same weights, as they are packed, with the operations of another backend."""
