"""Chooses the operations for this CPU, and their dtype."""

import logging

import torch

from gemwire_kernels.cpu.build import BuildError
from gemwire_kernels.cpu.native_ops import NativeOps
from gemwire_kernels.cpu.portable_ops import PortableOps
from gemwire_kernels.formats import WeightFormat

log = logging.getLogger(__name__)


def best_dtype() -> torch.dtype:
    """Returns bfloat16 where the CPU multiplies it natively; emulated, it is slower than float32."""
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def make_ops(dtype: torch.dtype, *, weights: WeightFormat, threads: int) -> NativeOps | PortableOps:
    """The native operations, or with a warning the portable ones if the library cannot be built.

    `dtype` is that of activations, `weights` the format that weights are multiplied in; `threads` counts
    the calling thread. Raises FormatError for a format that the CPU's operations do not multiply.
    """
    # oneDNN uses AMX, which multiplies bfloat16 several times as fast as the library's instructions.
    products = dtype is not torch.bfloat16 or not torch.cpu._is_amx_tile_supported()
    try:
        return NativeOps(dtype, weights=weights, threads=threads, products=products)
    except BuildError as error:
        log.warning("the native operations could not be built, slower ones serve: %s", error)
        return PortableOps(dtype, weights=weights)
