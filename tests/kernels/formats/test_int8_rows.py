"""int8 by row in NumPy: the oracle of the native kernels' quantization, bit for bit."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gemwire_kernels.cpu import NativeOps
from gemwire_kernels.cpu.native_ops import NativeWeight
from gemwire_kernels.formats import INT8_ROWS, Stored
from gemwire_kernels.formats.int8_rows import split
from gemwire_kernels.tensors import from_tensor
from support.kernels.cpu import needs_compiler, values


def rows(dtype: torch.dtype, count: int, columns: int) -> torch.Tensor:
    """Rows of many sizes, one of zeros, some that are not finite, and some whose numbers are near ties."""
    torch.manual_seed(0)
    made = values(count, columns) * torch.logspace(-20, 20, count)[:, None]
    made[1] = 0
    made[2, 3], made[3, 0], made[4, -1] = torch.nan, torch.inf, -torch.inf
    # Half steps, as near as float32 comes: here a second rounding would show.
    largest = torch.linspace(1, 200, 30)[:, None]
    made[5:35] = (torch.arange(columns) % 126 + 0.5) * (largest / 127)
    made[5:35, :1] = largest
    return made.to(dtype)


def oracle(table: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    return split(INT8_ROWS.quantize(table.float().numpy()))


@pytest.fixture(params=["float32", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = getattr(torch, request.param)
    return chosen


@needs_compiler
def test_the_native_embedding_is_quantized_bit_equal(dtype: torch.dtype) -> None:
    table = rows(dtype, 400, 96)
    ops = NativeOps(dtype, weights=INT8_ROWS, threads=2, products=True)
    packed = ops.pack_embedding(from_tensor(table))
    assert packed.scales is not None
    scales, integers = oracle(table)
    assert np.array_equal(packed.scales.numpy(), scales, equal_nan=True)
    assert np.array_equal(packed.rows.numpy(), integers)
    assert np.isnan(scales[2:5]).all() and not integers[1:5].any()


@needs_compiler
def test_a_native_weight_is_quantized_bit_equal(dtype: torch.dtype) -> None:
    weight = rows(dtype, 70, 96)
    ops = NativeOps(dtype, weights=INT8_ROWS, threads=2, products=True)
    packed = ops.pack(from_tensor(weight))
    if not isinstance(packed, NativeWeight):
        pytest.skip("this CPU's int8 products are PyTorch's")
    blocks, scales, sums = (part.numpy() for part in packed.memory)
    lanes = ops._lanes
    # A block has `lanes` columns of the right operand, four of their numbers a word.
    found = blocks.reshape(-1, 96 // 4, lanes, 4).transpose(0, 2, 1, 3).reshape(-1, 96)[:70]
    expected = oracle(weight)
    assert np.array_equal(scales[:70], expected[0], equal_nan=True)
    assert np.array_equal(found, expected[1])
    assert np.array_equal(sums[:70], 128 * expected[1].sum(1, dtype=np.int32))


@needs_compiler
def test_rows_near_the_smallest_scale_are_quantized_bit_equal() -> None:
    table = torch.ones(8, 96) * 127 * torch.tensor(2.0).pow(torch.arange(-132, -124))[:, None]
    table[:, 1::2] *= -1
    table[:, 2] = 0
    ops = NativeOps(torch.float32, weights=INT8_ROWS, threads=2, products=True)
    packed = ops.pack_embedding(from_tensor(table))
    assert packed.scales is not None
    with np.errstate(all="raise"):
        scales, integers = oracle(table)
    assert np.array_equal(packed.scales.numpy(), scales)
    assert np.array_equal(packed.rows.numpy(), integers)
    assert [row.any() for row in integers] == [False] * 5 + [True] * 3


def test_each_number_is_within_half_a_step() -> None:
    table = np.random.default_rng(0).normal(size=(50, 96)).astype(np.float32)
    table[7] = 0
    stored = Stored.quantized(table, INT8_ROWS)
    step = np.abs(table).max(axis=1, keepdims=True) / 127
    assert (np.abs(stored.dequantized() - table) <= step * 0.50001).all()
    largest = np.abs(split(stored.data)[1].astype(int)).max(axis=1)
    assert largest.tolist() == [0 if i == 7 else 127 for i in range(50)]
