"""`Ops` for CPUs: a native library built on first use, or PyTorch where there is no compiler."""

from gemwire_kernels.cpu.choice import best_dtype, make_ops
from gemwire_kernels.cpu.native_ops import NativeOps
from gemwire_kernels.cpu.portable_ops import PortableOps

__all__ = ["NativeOps", "PortableOps", "best_dtype", "make_ops"]
