"""The three projections: sizes that are no multiple of a tile, and what must not change a row."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gemwire_kernels import reference
from gemwire_kernels.gpu import GpuOps
from gemwire_kernels.ops import Batch, RotaryTable
from support.kernels import exact
from support.kernels.setting import (
    BUCKETS,
    CUDA,
    DEVICE,
    DTYPES,
    assert_no_worse,
    beyond,
    guarded,
    make_ops,
    only_on_cuda,
    placed,
    placed_for_reference,
    runs_kernels,
)

pytestmark = runs_kernels

# Tokens of a batch, around the interpreter's tiles of 16 and 32 and the served ones of 64 and 128.
TOKENS = [0, 1, 15, 16, 17, 33, 62]
if CUDA:
    TOKENS += [63, 64, 65, 127, 128, 129, 257]
POSITIONS = 2048
ANGLES = torch.rand(POSITIONS, 256, generator=torch.Generator().manual_seed(5)).double() * 6.28

Outputs = tuple[Tensor, Tensor, Tensor]


def draw(tokens: int, rows: int, depth: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x and a weight that keeps its variance."""
    torch.manual_seed(0)
    return torch.randn(tokens, depth).to(dtype), (torch.randn(rows, depth) / depth**0.5).to(dtype)


def run(ops: GpuOps, operation: str, batch: Batch, x: Tensor, weight: Tensor) -> Tensor:
    """`linear` or `gate_up_geglu` of the batch's rows; x is NaN beyond them."""
    with guarded():
        out: Tensor = getattr(ops, operation)(batch, beyond(batch, x), weight.to(DEVICE))
    return out[: len(x)]


def run_qkv(
    ops: GpuOps, batch: Batch, x: Tensor, weight: Tensor, norms: tuple[Tensor, Tensor], heads: int
) -> Outputs:
    """q, k and v of the batch's rows, after a look at what v holds beyond them: see gpu/heads.py."""
    half = ANGLES[:, : len(norms[0]) // 2]
    rotary = RotaryTable(*(t.to(DEVICE, ops.rotary_dtype) for t in (half.cos(), half.sin())))
    q_norm, k_norm = (norm.to(DEVICE) for norm in norms)
    with guarded():
        q, k, v = ops.qkv_norm_rope(
            batch, beyond(batch, x), weight.to(DEVICE), q_norm, k_norm, rotary, heads, exact.EPS
        )
    assert v.isfinite().all()
    return q[: len(x)], k[: len(x)], v[: len(x)].clone()


def exact_product(x: Tensor, weight: Tensor) -> Tensor:
    return x.to(DEVICE).double() @ weight.to(DEVICE).double().T


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("rows,depth", [(48, 96), (104, 48), (16, 256)])
def test_linear(tokens: int, rows: int, depth: int, dtype: torch.dtype, bucket: int) -> None:
    ops = make_ops(dtype=dtype)
    x, weight = draw(tokens, rows, depth, dtype)
    found = run(ops, "linear", placed(ops, [tokens], capacity=bucket), x, weight)
    assert_no_worse(found, F.linear(x, weight), exact_product(x, weight))


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("inner,depth", [(40, 48), (112, 96), (8, 256)])
def test_gate_up_geglu(
    tokens: int, inner: int, depth: int, dtype: torch.dtype, bucket: int
) -> None:
    """No inner size is a multiple of the tiles' columns: a last block ends where gate and up do."""
    ops = make_ops(dtype=dtype)
    x, weight = draw(tokens, 2 * inner, depth, dtype)
    found = run(ops, "gate_up_geglu", placed(ops, [tokens], capacity=bucket), x, weight)
    eager = reference.gate_up_geglu(placed_for_reference([tokens]), x, weight)
    gate, up = exact_product(x, weight).chunk(2, -1)
    assert_no_worse(found, eager, exact.geglu(gate, up))


@pytest.mark.parametrize("dtype", DTYPES)
def test_geglu_of_gates_beyond_what_exp_takes(dtype: torch.dtype) -> None:
    ops = make_ops(dtype=dtype)
    x = torch.tensor([[300.0], [-300.0], [20.0], [-20.0], [1e15], [-1e15], [0.0]]).to(dtype)
    x = F.pad(x, (0, 15))
    weight = torch.ones(32, 16).to(dtype)
    found = run(ops, "gate_up_geglu", placed(ops, [7]), x, weight)
    eager = reference.gate_up_geglu(placed_for_reference([7]), x, weight)
    torch.testing.assert_close(found.cpu(), eager, rtol=1e-2 if CUDA else 1e-5, atol=1e-5)


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "heads,kv_heads,head_dim,hidden,lengths",
    [
        (3, 1, 32, 96, [1, 0, 16, 17, 28]),
        (4, 2, 64, 72, [33, 2]),
        (2, 2, 32, 256, [15]),
        (1, 1, 128, 80, [1] * 9),
        (3, 1, 256, 160, [9, 31]),
        (4, 1, 32, 96, []),
    ],
)
def test_qkv_norm_rope(
    heads: int,
    kv_heads: int,
    head_dim: int,
    hidden: int,
    lengths: list[int],
    dtype: torch.dtype,
    bucket: int,
) -> None:
    ops = make_ops(heads, kv_heads, head_dim, dtype=dtype)
    check_qkv(ops, heads, kv_heads, head_dim, hidden, lengths, dtype, bucket)


def check_qkv(
    ops: GpuOps,
    heads: int,
    kv_heads: int,
    head_dim: int,
    hidden: int,
    lengths: list[int],
    dtype: torch.dtype,
    bucket: int,
) -> None:
    x, weight = draw(sum(lengths), (heads + 2 * kv_heads) * head_dim, hidden, dtype)
    norms = torch.randn(head_dim), torch.randn(head_dim) * 60  # negative and large ones too
    batch = placed(ops, lengths, capacity=bucket)
    found = run_qkv(ops, batch, x, weight, norms, heads)

    half = ANGLES[:, : head_dim // 2]
    rotary = RotaryTable(half.cos().float(), half.sin().float())
    place = placed_for_reference(lengths)
    eager = reference.qkv_norm_rope(place, x, weight, *norms, rotary, heads, exact.EPS)

    product = exact_product(x, weight).view(len(x), heads + 2 * kv_heads, head_dim)
    q, k, v = product[:, :heads], product[:, heads:-kv_heads], product[:, -kv_heads:]
    angles = half[place.positions, None].to(DEVICE)
    expected = (
        exact.rotated(exact.norm(q, norms[0].to(DEVICE)), angles),
        exact.rotated(exact.norm(k, norms[1].to(DEVICE)), angles),
        v,
    )
    for ours, theirs, right in zip(found, eager, expected, strict=True):
        assert_no_worse(ours, theirs, right)


@only_on_cuda
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", [[16896], [16895], [1] * 4096, [257]])
def test_served_sizes(lengths: list[int], dtype: torch.dtype) -> None:
    tokens = sum(lengths)
    ops = make_ops(3, 1, 256, dtype=dtype)
    positions = [2048] * (tokens // 2048) + [tokens % 2048] if tokens > 4096 else lengths
    check_qkv(ops, 3, 1, 256, 768, positions, dtype, tokens)
    batch = placed(ops, lengths, capacity=tokens)
    for rows, depth in [(768, 768), (768, 1152)]:
        x, weight = draw(tokens, rows, depth, dtype)
        found = run(ops, "linear", batch, x, weight)
        assert_no_worse(found, F.linear(x, weight), exact_product(x, weight))
    x, weight = draw(tokens, 2304, 768, dtype)
    found = run(ops, "gate_up_geglu", batch, x, weight)
    eager = reference.gate_up_geglu(placed_for_reference(lengths), x, weight)
    gate, up = exact_product(x, weight).chunk(2, -1)
    assert_no_worse(found, eager, exact.geglu(gate, up))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["outliers", "zero rows", "equal rows"])
def test_values(kind: str, dtype: torch.dtype) -> None:
    ops = make_ops(1, 1, 32, dtype=dtype)
    x, weight = draw(20, 96, 96, dtype)
    if kind == "outliers":
        x[:, [3, 30, 50, 95]] *= 100
    elif kind == "zero rows":
        x[5:9] = 0
    else:
        x[:] = x[:1].clone()
    batch = placed(ops, [20])
    found = run(ops, "linear", batch, x, weight)
    assert_no_worse(found, F.linear(x, weight), exact_product(x, weight))
    norms = torch.ones(32), torch.ones(32)
    q, k, v = run_qkv(ops, batch, x, weight, norms, 1)
    if kind == "zero rows":
        assert not q[5:9].any() and not k[5:9].any() and not v[5:9].any()
    half = ANGLES[:, :16]
    rotary = RotaryTable(half.cos().float(), half.sin().float())
    place = placed_for_reference([20])
    eager = reference.qkv_norm_rope(place, x, weight, *norms, rotary, 1, exact.EPS)
    product = exact_product(x, weight)[:, :32]
    angles = half[place.positions].to(DEVICE)
    expected = exact.rotated(exact.norm(product, norms[0].to(DEVICE)), angles)
    assert_no_worse(q[:, 0], eager[0][:, 0], expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_stays_in_its_row_and_out_of_v(dtype: torch.dtype) -> None:
    """q and k may be NaN, since their scores are masked; v is multiplied by weights of zero."""
    ops = make_ops(3, 1, 32, dtype=dtype)
    x, weight = draw(20, 160, 96, dtype)
    norms = torch.ones(32), torch.ones(32)
    batch = placed(ops, [9, 2, 9])
    before = run_qkv(ops, batch, x, weight, norms, 3)
    x[9], x[10] = torch.nan, torch.inf
    after = run_qkv(ops, batch, x, weight, norms, 3)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old[:9], new[:9]) and torch.equal(old[11:], new[11:])
    assert after[0][9].isnan().all() and after[1][9].isnan().all()
    for operation in ("linear", "gate_up_geglu"):
        found = run(ops, operation, batch, x, weight)
        assert found[9].isnan().all()
        assert found[[*range(9), *range(11, 20)]].isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", ["linear", "gate_up_geglu", "qkv_norm_rope"])
def test_a_row_has_the_same_bits_wherever_it_is(operation: str, dtype: torch.dtype) -> None:
    """Alone, in every row of a tile, and in buckets whose tiles have other sizes."""
    ops = make_ops(3, 1, 32, dtype=dtype)
    x, weight = draw(1, 160, 96, dtype)
    torch.manual_seed(1)
    norms = torch.randn(32), torch.randn(32)

    def outputs(x: Tensor, capacity: int) -> tuple[Tensor, ...]:
        batch = placed(ops, [1] * len(x), capacity=capacity)  # all at position 0
        if operation == "qkv_norm_rope":
            return run_qkv(ops, batch, x, weight, norms, 3)
        return (run(ops, operation, batch, x, weight),)

    alone = outputs(x, 0)
    for tokens, capacity in [(33, 0), (130, 0), (2, 1000), (2, 16000)]:
        for found, one in zip(outputs(x.expand(tokens, -1), capacity), alone, strict=True):
            assert torch.equal(found, one.expand_as(found))
