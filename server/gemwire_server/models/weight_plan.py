"""Defines which tensors of a checkpoint an encoder needs, and where their values go."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from gemwire_kernels.formats import Stored
from gemwire_kernels.ops import Ops
from gemwire_kernels.tensors import from_tensor
from gemwire_server.models.encoder import Encoder


class WeightPlan(ABC):
    """The tensors of an encoder, and the memory that takes their values.

    A matrix is in `dtype`, a vector in fp32. Tensors that the files hold apart and an operation
    multiplies at once are parts of one matrix. The reader fills every view in `targets`; then
    `make_encoder` may be called, once.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.targets: dict[str, Tensor] = {}
        """By a tensor's name in the files, a view of the tensor's shape that takes its values."""

    def matrix(self, columns: int, rows: dict[str, int]) -> Stored:
        """Plans one matrix of the rows of some tensors, each named with its number of rows."""
        whole = torch.empty(sum(rows.values()), columns, dtype=self.dtype)
        self.targets |= zip(rows, whole.split(list(rows.values())), strict=True)
        return from_tensor(whole)

    def vector(self, name: str, length: int) -> Tensor:
        """Plans a vector, fp32 [length]."""
        self.targets[name] = values = torch.empty(length)
        return values

    @abstractmethod
    def make_encoder(self, dense: Tensor, ops: Ops, device: torch.device) -> Encoder:
        """Packs the weights, and frees each when it is packed.

        `dense`: fp32 [dimensions, hidden], which turns a pooled text into a vector.
        """
