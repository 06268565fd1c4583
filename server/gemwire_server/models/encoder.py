"""Defines what a runner calls on an encoder of any family."""

from typing import TYPE_CHECKING, Protocol

from gemwire_server.models.config import EncoderConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gemwire_kernels.ops import Batch, Ops


class Encoder(Protocol):
    """Turns token ids into one vector a text, or one a token."""

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

    def forward(self, batch: "Batch", *, normalize: bool = True) -> "Tensor":
        """Turns a batch that `ops.place` made into fp32 [n, dimensions]. With `normalize` each row has
        length one."""

    def token_states(self, batch: "Batch") -> "Tensor":
        """Computes the final hidden state of every token, after the last norm: fp32 [T, hidden]."""

    def with_ops(self, ops: "Ops") -> "Encoder":
        """Returns an encoder of the same packed weights that calls the operations of another backend."""
