"""Operations of a Gemma 3 encoder over packed batches; every backend satisfies `Ops`."""

from gemwire_kernels.ops import Batch, Embedding, Ops, Weight

__all__ = ["Batch", "Embedding", "Ops", "Weight"]
