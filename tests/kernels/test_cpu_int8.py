"""Int8 weights: what rounding to them may cost, and no more."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gemwire_kernels import reference
from gemwire_kernels.cpu import NativeOps, PortableOps
from gemwire_kernels.cpu.portable_ops import quantize
from gemwire_kernels.formats import INT8_ROWS
from gemwire_kernels.ops import Ops
from gemwire_kernels.tensors import from_tensor
from support.kernels.cpu import needs_compiler, placed, values
from support.kernels.formulas import EPS, geglu64, linear64, norm64

MAKERS: dict[str, Callable[[torch.dtype], Ops]] = {
    "native": lambda dtype: NativeOps(dtype, weights=INT8_ROWS, threads=2, products=True),
    "portable": lambda dtype: PortableOps(dtype, weights=INT8_ROWS),
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=["float32", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = getattr(torch, request.param)
    return chosen


@pytest.fixture(params=[pytest.param("native", marks=needs_compiler), "portable"])
def ops(request: pytest.FixtureRequest, dtype: torch.dtype) -> Ops:
    return MAKERS[request.param](dtype)


@pytest.mark.parametrize("rows", [1, 13, 14, 15, 300])
@pytest.mark.parametrize("columns,depth", [(768, 1152), (96, 96), (70, 36), (33, 7)])
def test_linear(ops: Ops, dtype: torch.dtype, rows: int, columns: int, depth: int) -> None:
    """Each factor is off by at most half a step of its scale, so each sum by no more than theirs."""
    x, weight = values(rows, depth, dtype=dtype), values(columns, depth).to(dtype)
    x[0] = 0
    found = ops.linear(placed([]), x, ops.pack(from_tensor(weight))).double()
    truth = linear64(x, weight)
    half_x, half_w = x.double().abs().amax(1) / 254, weight.double().abs().amax(1) / 254
    bound = half_x[:, None] * weight.double().abs().sum(1)
    bound = bound + half_w * (x.double().abs().sum(1) + half_x * depth)[:, None]
    rounding = truth.abs() * torch.finfo(dtype).eps
    assert ((found - truth).abs() <= 1.001 * bound + rounding + 1e-6).all()
    assert (found[0] == 0).all()


def test_error_of_a_product_is_a_percent(ops: Ops, dtype: torch.dtype) -> None:
    x, weight = torch.randn(200, 768).to(dtype), torch.randn(2 * 320, 768).to(dtype)
    packed, batch = ops.pack(from_tensor(weight)), placed([])
    for found, truth in (
        (ops.linear(batch, x, packed), linear64(x, weight)),
        (ops.gate_up_geglu(batch, x, packed), geglu64(x, weight)),
    ):
        assert (found.double() - truth).norm() <= 0.02 * truth.norm()


def test_embedding(ops: Ops, dtype: torch.dtype) -> None:
    table, norm = values(50, 96, dtype=dtype), torch.randn(96)
    table[7] = 0
    batch = placed([50], ids=torch.arange(50))
    residual, x = ops.embed_norm(batch, ops.pack_embedding(from_tensor(table)), 27.7, norm, EPS)
    truth = table.double() * 27.7
    assert ((residual - truth).abs() <= truth.abs().amax(1, keepdim=True) / 253).all()
    eager = reference.embed_norm(batch, table, 27.7, norm, EPS)[1]
    assert x.dtype is eager.dtype
    assert (x.double() - norm64(truth, norm)).norm() <= 0.02 * norm64(truth, norm).norm()


def test_what_is_not_finite_comes_through(ops: Ops, dtype: torch.dtype) -> None:
    weight = ops.pack(from_tensor(torch.randn(64, 96).to(dtype)))
    for bad in (torch.nan, torch.inf):
        x = torch.randn(20, 96).to(dtype)
        x[3, 5] = bad
        finite = ops.linear(placed([]), x, weight).isfinite().all(dim=1)
        assert torch.equal(finite, torch.arange(20) != 3)


@needs_compiler
def test_the_library_rounds_as_pytorch_does(dtype: torch.dtype) -> None:
    """Products of integers are exact: both ways differ by the rounding of what goes in and comes out."""
    native, portable = MAKERS["native"](dtype), MAKERS["portable"](dtype)
    x, weight = torch.randn(31, 96).to(dtype), torch.randn(64, 96).to(dtype)
    ours = native.linear(placed([]), x, native.pack(from_tensor(weight))).float()
    theirs = portable.linear(placed([]), x, portable.pack(from_tensor(weight))).float()
    steps, _ = quantize(x)
    assert np.abs(steps.numpy()).max() == 127
    torch.testing.assert_close(ours, theirs, atol=0.2, rtol=torch.finfo(dtype).eps)
