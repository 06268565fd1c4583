"""Converts between `Stored` and tensors of the same memory, in formats that PyTorch has a dtype for."""

import numpy as np
import torch
from torch import Tensor

from gemwire_kernels.formats import BFLOAT16, FLOAT32, Stored, WeightFormat, check_offered

FORMAT_OF = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16}
"""The format that holds numbers of a dtype."""
DTYPE_OF = {each: dtype for dtype, each in FORMAT_OF.items()}


def from_tensor(tensor: Tensor) -> Stored:
    """Wraps a contiguous matrix [rows, columns] in the CPU's memory, float32 or bfloat16."""
    rows, columns = tensor.shape
    return Stored(FORMAT_OF[tensor.dtype], (rows, columns), tensor.view(torch.uint8).numpy())


def to_tensor(stored: Stored, formats: tuple[WeightFormat, ...], by: str) -> Tensor:
    """Returns the matrix [rows, columns]. Raises FormatError unless its format is among `formats`,
    those that the backend `by` takes.
    """
    check_offered(stored.format, formats, by)
    dtype = DTYPE_OF[stored.format]
    # NumPy joins the bytes of a number: PyTorch does not where there are no rows.
    numbers = np.ascontiguousarray(stored.data).view(f"u{dtype.itemsize}")
    return torch.from_numpy(numbers).view(dtype)
