"""The Gemma 3 text encoder."""

from typing import TYPE_CHECKING

from gemwire_server.models.gemma3.config import TRAINED_DIMENSIONS, read_config

if TYPE_CHECKING:
    import torch

    from gemwire_server.models.config import EncoderConfig
    from gemwire_server.models.gemma3.weights import Gemma3Weights

__all__ = ["TRAINED_DIMENSIONS", "plan_weights", "read_config"]


def plan_weights(config: "EncoderConfig", dtype: "torch.dtype") -> "Gemma3Weights":
    """Lays out the memory for the tensors that the encoder needs; `dtype` is that of matrices."""
    # Imported here: a process that only tokenizes needs no PyTorch.
    from gemwire_server.models.gemma3.weights import Gemma3Weights

    return Gemma3Weights(config, dtype)
