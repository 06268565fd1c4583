"""Operations of a Gemma 3 encoder over packed batches; every backend is a module that satisfies `Ops`."""

from gemwire_kernels.ops import Ops, Weight

__all__ = ["Ops", "Weight"]
