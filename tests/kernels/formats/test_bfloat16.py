"""bfloat16 in NumPy against PyTorch's conversion."""

import numpy as np
import torch
from numpy.typing import NDArray

from gemwire_kernels.formats import BFLOAT16

# The halves of a float32 that decide how it rounds: below, at and above a tie, and the largest carry.
LOWER = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)


def every_upper_half() -> NDArray[np.float32]:
    """fp32 [65536, 6]: every bfloat16 with each of the lower halves, infinities and NaNs among them."""
    upper = np.arange(1 << 16, dtype=np.uint32)[:, None] << np.uint32(16)
    return (upper | LOWER).view(np.float32)


def test_rounds_as_torch_does() -> None:
    values = every_upper_half()
    theirs = torch.from_numpy(values).bfloat16()
    ours = BFLOAT16.quantize(values)
    assert ours.shape == (len(values), BFLOAT16.row_bytes(values.shape[1]))
    numbers = ~np.isnan(values)
    bits, expected = ours.view(np.uint16), theirs.view(torch.uint16).numpy()
    assert np.array_equal(bits[numbers], expected[numbers])
    assert np.isnan(BFLOAT16.dequantize(ours)[~numbers]).all()


def test_gives_the_values_that_torch_gives() -> None:
    data = BFLOAT16.quantize(every_upper_half())
    expected = torch.from_numpy(data).view(torch.bfloat16).float().numpy()
    assert np.array_equal(BFLOAT16.dequantize(data), expected, equal_nan=True)
