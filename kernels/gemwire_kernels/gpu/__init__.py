"""`Ops` as Triton kernels over packed batches; imported only where a GPU, or its interpreter, is used."""

from gemwire_kernels.gpu.batch import Attention, Block
from gemwire_kernels.gpu.ops import GpuOps
from gemwire_kernels.gpu.tiles import TileTable, find_table

__all__ = ["Attention", "Block", "GpuOps", "TileTable", "find_table"]
