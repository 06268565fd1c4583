"""What every format promises, and what a backend says of one that it lacks."""

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from gemwire_kernels import reference
from gemwire_kernels.cpu import NativeOps, PortableOps, make_ops
from gemwire_kernels.formats import (
    BFLOAT16,
    FLOAT32,
    FORMATS,
    INT8_ROWS,
    FormatError,
    Stored,
    WeightFormat,
)
from gemwire_kernels.gpu import Attention, GpuOps
from gemwire_kernels.ops import Ops
from gemwire_kernels.tensors import from_tensor
from support.kernels.cpu import needs_compiler
from support.kernels.setting import DEVICE, small_tiles

VALUES = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)

# A format that no backend knows: one byte for eight signs.
SIGNS = WeightFormat(
    "signs",
    lambda columns: columns // 8,
    lambda rows: np.packbits(rows > 0, axis=1),
    lambda data: np.unpackbits(data, axis=1).astype(np.float32) * 2 - 1,
)


def gpu_ops(dtype: torch.dtype) -> GpuOps:
    sizes = Attention(num_heads=1, num_kv_heads=1, head_dim=32)
    return GpuOps(sizes, small_tiles(), dtype=dtype, device=DEVICE, multiprocessors=2)


BACKENDS: dict[str, Callable[[], Ops]] = {
    "native": lambda: NativeOps(torch.float32, weights=FLOAT32, threads=1, products=True),
    "portable": lambda: PortableOps(torch.float32, weights=INT8_ROWS),
    "reference": lambda: reference,
    "gpu": lambda: gpu_ops(torch.float32),
}


@pytest.mark.parametrize("form", [*FORMATS.values(), SIGNS], ids=lambda form: form.name)
def test_rounding_twice_is_rounding_once(form: WeightFormat) -> None:
    stored = Stored.quantized(VALUES, form)
    assert stored.data.shape == (6, form.row_bytes(64)) and stored.data.dtype == np.uint8
    again = Stored.quantized(stored.dequantized(), form)
    assert stored.dequantized().shape == stored.shape
    np.testing.assert_allclose(again.dequantized(), stored.dequantized(), rtol=1e-6)


def test_bytes_of_another_size_are_refused() -> None:
    data = BFLOAT16.quantize(VALUES)
    with pytest.raises(FormatError, match=r"6 rows of 63 numbers in bfloat16 are \(6, 126\) bytes"):
        Stored(BFLOAT16, (6, 63), data)
    with pytest.raises(FormatError, match="5 rows"):
        Stored(BFLOAT16, (5, 64), data)


@pytest.mark.parametrize(
    "name", [pytest.param("native", marks=needs_compiler), *list(BACKENDS)[1:]]
)
@pytest.mark.parametrize("form", [SIGNS, INT8_ROWS], ids=lambda form: form.name)
def test_a_backend_names_a_format_that_it_does_not_take(name: str, form: WeightFormat) -> None:
    ops, stored = BACKENDS[name](), Stored.quantized(VALUES, form)
    assert form not in ops.formats
    for pack in (ops.pack, ops.pack_embedding):
        with pytest.raises(FormatError, match=rf"take weights in float32.*, not in {form.name}$"):
            pack(stored)


@pytest.mark.parametrize(
    "name", [pytest.param("native", marks=needs_compiler), *list(BACKENDS)[1:]]
)
def test_a_backend_takes_a_matrix_without_rows(name: str) -> None:
    ops = BACKENDS[name]()
    stored = from_tensor(torch.empty(0, 64))
    ops.pack_embedding(stored)
    ops.pack(stored)


@pytest.mark.parametrize("weights", [SIGNS, FLOAT32], ids=lambda form: form.name)
def test_the_cpu_names_the_formats_that_it_multiplies(weights: WeightFormat) -> None:
    expected = f"in bfloat16 and int8, not in {weights.name}$"
    with pytest.raises(FormatError, match=expected):
        make_ops(torch.bfloat16, weights=weights, threads=1)
    with pytest.raises(FormatError, match=expected):
        PortableOps(torch.bfloat16, weights=weights)


def test_formats_need_numpy_alone() -> None:
    """Also when they are imported: no package above them imports PyTorch."""
    script = (
        "import sys, gemwire_kernels.formats; "
        "print({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    names = found.stdout.strip("{}\n").replace("'", "").split(", ")
    assert set(names) == {"gemwire_kernels", "numpy", "__main__"}
