"""The operations' formulas written out in fp64, in the fewest lines and no other order in mind."""

import itertools
import math

import torch
from torch import Tensor

EPS = 1e-6


def norm64(x: Tensor, weight: Tensor) -> Tensor:
    x = x.double()
    return x / (x.square().mean(-1, keepdim=True) + EPS).sqrt() * weight.double()


def attention64(q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None) -> Tensor:
    """One text, head by head, with the whole score matrix."""
    heads = []
    group = q.shape[1] // k.shape[1]
    for head in range(q.shape[1]):
        kv = head // group
        scores = q[:, head].double() @ k[:, kv].double().T * scale
        if window is not None:
            at = torch.arange(len(q), device=q.device)
            scores[(at[:, None] - at).abs() > window] = -math.inf
        heads.append(scores.softmax(-1) @ v[:, kv].double())
    return torch.stack(heads, dim=1).flatten(1)


def packed_attention64(
    lengths: list[int], q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
) -> Tensor:
    bounds = itertools.pairwise(itertools.accumulate(lengths, initial=0))
    parts = [attention64(q[a:b], k[a:b], v[a:b], scale, window) for a, b in bounds]
    return torch.cat(parts) if parts else q.double().flatten(1)


def rotate64(x: Tensor, angles: Tensor) -> Tensor:
    """A pair (x_i, x_{i + d/2}) as a complex number turned by its angle [tokens, d/2]."""
    a, b = x.double().chunk(2, -1)
    turned = torch.complex(a, b) * torch.polar(torch.ones_like(angles), angles)[:, None]
    return torch.cat((turned.real, turned.imag), -1)


def linear64(x: Tensor, weight: Tensor) -> Tensor:
    return x.double() @ weight.double().T


def geglu64(x: Tensor, weight: Tensor) -> Tensor:
    gate, up = linear64(x, weight).chunk(2, -1)
    cubic = gate + 0.044715 * gate**3
    return 0.5 * gate * (1 + torch.tanh(math.sqrt(2 / math.pi) * cubic)) * up
