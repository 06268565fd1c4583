"""Teaches Triton's interpreter to round to bfloat16 and to multiply it, as a GPU does."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import triton.language as tl
from triton.runtime import interpreter


def teach() -> None:
    """For the rest of the process. The interpreter calls both by the names of its own module."""
    interpreter.np = SimpleNamespace(**(vars(np) | {"matmul": _product}))
    interpreter._convert_float = _convert


def _product(a: Any, b: Any, dtype: Any) -> Any:
    """In fp64, rounded once: NumPy's BLAS sums a row in another order at another place of a tile on some
    processors, which would show as other bits. The interpreter itself multiplies bfloat16's bits."""
    a, b = (_widened(t).view(np.float32) if t.dtype == np.uint16 else t for t in (a, b))
    return np.matmul(a, b, dtype=np.float64).astype(dtype)


def _convert(values: Any, source: Any, target: Any, rounding_mode: Any) -> Any:
    """Bits of `target`. The interpreter itself cuts off; GPUs round to nearest, ties to even."""
    if (source, target) == (tl.float32, tl.bfloat16):
        return torch.from_numpy(np.array(values)).bfloat16().view(torch.uint16).numpy()
    assert (source, target) == (tl.bfloat16, tl.float32)
    return _widened(values)


def _widened(bits: Any) -> Any:
    """bfloat16, which the interpreter holds as uint16, as the fp32 bits of the same value."""
    return bits.astype(np.uint32) << 16
