"""Operations of a Gemma 3 encoder over packed batches; every backend satisfies `Ops`."""

from gemwire_kernels.ops import Batch, Ops, Weight

__all__ = ["Batch", "Ops", "Weight"]
