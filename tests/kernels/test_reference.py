"""The reference operations against their formulas written out in fp64."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from gemwire_kernels import reference as ops
from gemwire_kernels.ops import Batch, RotaryTable
from support.kernels.formulas import EPS, attention64, norm64


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def placed(
    lengths: list[int], positions: Tensor | None = None, ids: list[int] | None = None
) -> Batch:
    """A batch of texts of these lengths; ids and positions matter to few operations."""
    zeros = np.zeros(sum(lengths), dtype=np.int32)
    return ops.place(
        zeros if ids is None else np.array(ids, dtype=np.int32),
        zeros if positions is None else positions.int().numpy(),
        np.cumsum([0, *lengths], dtype=np.int32),
    )


@pytest.mark.parametrize("heads,kv_heads,head_dim", [(3, 1, 256), (4, 2, 64), (2, 2, 40)])
@pytest.mark.parametrize("window", [None, 0, 1, 16, 256])
@pytest.mark.parametrize("lengths", [[1], [1] * 9, [17, 16, 1, 18], [255, 259], [130, 600, 257]])
def test_attention(
    heads: int, kv_heads: int, head_dim: int, window: int | None, lengths: list[int]
) -> None:
    tokens = sum(lengths)
    q = torch.randn(tokens, heads, head_dim)
    k, v = torch.randn(tokens, kv_heads, head_dim), torch.randn(tokens, kv_heads, head_dim)
    scale = head_dim**-0.5
    found = ops.attention(placed(lengths), q, k, v, scale, window)
    bounds = itertools.pairwise(np.cumsum([0, *lengths]))
    expected = torch.cat([attention64(q[a:b], k[a:b], v[a:b], scale, window) for a, b in bounds])
    torch.testing.assert_close(found.double(), expected, atol=5e-6, rtol=0)


def test_attention_sees_the_edge_of_the_window_and_nothing_beyond() -> None:
    q, k, v = torch.randn(600, 3, 32), torch.randn(600, 1, 32), torch.randn(600, 1, 32)
    batch = placed([600])
    before = ops.attention(batch, q, k, v, 0.2, 256)
    v[300] += 100
    after = ops.attention(batch, q, k, v, 0.2, 256)
    changed = (before != after).any(dim=1)
    reach = torch.arange(600).sub(300).abs() <= 256
    assert torch.equal(changed, reach)


def test_texts_do_not_see_each_other() -> None:
    q, k, v = torch.randn(90, 3, 32), torch.randn(90, 1, 32), torch.randn(90, 1, 32)
    batch = placed([30, 40, 20])
    before = ops.attention(batch, q, k, v, 0.2, None)
    k[30:70], v[30:70] = 1e4, -1e4
    after = ops.attention(batch, q, k, v, 0.2, None)
    assert torch.equal(before[:30], after[:30]) and torch.equal(before[70:], after[70:])


def test_qkv_norm_rope() -> None:
    tokens, hidden, heads, kv_heads, d = 13, 48, 3, 1, 16
    x, weight = torch.randn(tokens, hidden), torch.randn((heads + 2 * kv_heads) * d, hidden)
    q_norm, k_norm = torch.rand(d) + 0.5, torch.rand(d) + 0.5
    angles = torch.rand(64, d // 2) * 6
    positions = torch.randint(0, 64, (tokens,))
    batch, rotary = placed([tokens], positions), RotaryTable(angles.cos(), angles.sin())
    q, k, v = ops.qkv_norm_rope(batch, x, weight, q_norm, k_norm, rotary, heads, EPS)
    rows = (x.double() @ weight.double().T).view(tokens, heads + 2 * kv_heads, d)
    # A pair (x_i, x_{i + d/2}) as a complex number turned by its angle.
    turn = torch.polar(torch.ones(tokens, 1, d // 2).double(), angles[positions, None].double())

    def expected(part: Tensor, norm: Tensor) -> Tensor:
        a, b = norm64(part, norm).chunk(2, -1)
        turned = torch.complex(a, b) * turn
        return torch.cat((turned.real, turned.imag), -1)

    close = partial(torch.testing.assert_close, atol=5e-6, rtol=0)
    close(q.double(), expected(rows[:, :3], q_norm))
    close(k.double(), expected(rows[:, 3:4], k_norm))
    torch.testing.assert_close(v.double(), rows[:, 4:], atol=5e-5, rtol=0)


def test_norms_residual_and_geglu() -> None:
    table, ids = torch.randn(20, 48), [3, 3, 19, 0]
    batch = placed([4], ids=ids)
    g1, g2 = torch.rand(48) + 0.5, torch.randn(48)
    residual, x = ops.embed_norm(batch, table, 48**0.5, g1, EPS)
    start = table[ids].double() * 48**0.5
    torch.testing.assert_close(residual.double(), start, atol=1e-5, rtol=0)
    torch.testing.assert_close(x.double(), norm64(start, g1), atol=5e-6, rtol=0)

    y = torch.randn(4, 48) * 30
    x = ops.norm_residual_norm(batch, y, residual, g1, g2, EPS)
    expected = start + norm64(y, g1)
    torch.testing.assert_close(residual.double(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(x.double(), norm64(expected, g2), atol=1e-5, rtol=0)

    weight = torch.randn(2 * 24, 48) / 7
    gate, up = (x.double() @ weight.double().T).chunk(2, -1)
    gelu = 0.5 * gate * (1 + torch.tanh((2 / math.pi) ** 0.5 * (gate + 0.044715 * gate**3)))
    torch.testing.assert_close(
        ops.gate_up_geglu(batch, x, weight).double(), gelu * up, atol=2e-5, rtol=1e-5
    )


def test_pool_and_head() -> None:
    residual, norm, dense = torch.randn(10, 48) * 5, torch.randn(48), torch.randn(32, 48)
    batch = placed([1, 7, 2])
    pooled = ops.pool(batch, residual, norm, EPS)
    rows = norm64(residual, norm)
    expected = torch.stack([rows[:1].mean(0), rows[1:8].mean(0), rows[8:].mean(0)])
    torch.testing.assert_close(pooled.double(), expected, atol=5e-6, rtol=0)
    projected = expected @ dense.double().T
    unit = projected / projected.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(ops.head(batch, pooled, dense).double(), unit, atol=1e-6, rtol=0)
    raw = ops.head(batch, pooled, dense, normalize=False)
    torch.testing.assert_close(raw.double(), projected, atol=5e-5, rtol=0)


def test_bfloat16_rounds_only_what_leaves_an_operation() -> None:
    """The residual stays fp32: adding many small parts must not be lost."""
    residual = torch.full((1, 48), 256.0)
    y = torch.full((1, 48), 1.0).bfloat16()
    x = ops.norm_residual_norm(
        placed([1]), y, residual, torch.full((48,), 0.25), torch.ones(48), EPS
    )
    assert x.dtype is torch.bfloat16
    torch.testing.assert_close(residual, torch.full((1, 48), 256.25))
