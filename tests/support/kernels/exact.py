"""The operations' formulas in fp64, on any device: what errors are measured from."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from support.kernels.formulas import EPS
from support.kernels.formulas import attention64 as attention
from support.kernels.formulas import norm64 as norm

__all__ = ["EPS", "attention", "bounds", "geglu", "head", "norm", "pool", "rotated"]


def bounds(lengths: list[int]) -> Iterator[tuple[int, int]]:
    """Where each text starts and ends in a packed batch."""
    ends = np.cumsum(lengths, dtype=int).tolist()
    return ((end - length, end) for end, length in zip(ends, lengths, strict=True))


def rotated(x: Tensor, angles: Tensor) -> Tensor:
    """A pair (x_i, x_{i + d/2}) as a complex number turned by its angle."""
    a, b = x.double().chunk(2, -1)
    turned = torch.complex(a, b) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((turned.real, turned.imag), -1)


def geglu(gate: Tensor, up: Tensor) -> Tensor:
    inner = (2 / math.pi) ** 0.5 * (gate + 0.044715 * gate**3)
    return 0.5 * gate * (1 + torch.tanh(inner)) * up


def pool(residual: Tensor, weight: Tensor, lengths: list[int]) -> Tensor:
    rows = norm(residual, weight)
    sums = [rows[start:end].sum(0) / max(end - start, 1) for start, end in bounds(lengths)]
    return torch.stack(sums) if sums else rows.new_empty(0, rows.shape[1])


def head(pooled: Tensor, dense: Tensor) -> Tensor:
    projected: Tensor = pooled.double() @ dense.double().T
    lengths: Tensor = projected.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return projected / lengths
