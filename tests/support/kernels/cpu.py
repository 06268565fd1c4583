"""Input for tests of the CPU's operations, and whether there is a compiler."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gemwire_kernels import reference
from gemwire_kernels.cpu.build import BuildError, find_compiler
from gemwire_kernels.ops import Batch

try:
    find_compiler()
    COMPILER = True
except BuildError:
    COMPILER = False


needs_compiler = pytest.mark.skipif(not COMPILER, reason="there is no C++ compiler")


def placed(lengths: list[int], ids: Tensor | None = None, positions: Tensor | None = None) -> Batch:
    zeros = np.zeros(sum(lengths), dtype=np.int32)
    return reference.place(
        zeros if ids is None else ids.int().numpy(),
        zeros if positions is None else positions.int().numpy(),
        np.cumsum([0, *lengths], dtype=np.int32),
    )


def values(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normal numbers with some columns a hundred times as large, as in a transformer's activations."""
    x = torch.randn(*shape)
    x[..., :: max(1, shape[-1] // 4)] *= 100
    return x.to(dtype)
