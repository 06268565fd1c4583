"""Defines what a family of models provides."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from gemwire_server.models.config import EncoderConfig

if TYPE_CHECKING:
    import torch

    from gemwire_server.models.weight_plan import WeightPlan


class Family(Protocol):
    """A module that reads checkpoints of some `model_type`s of config.json."""

    @property
    def TRAINED_DIMENSIONS(self) -> tuple[int, ...]:
        """The sizes of vectors, largest first, that the published model was trained for.

        They hold for a checkpoint with vectors of the largest size whose config.json lists no sizes.
        """

    def read_config(self, raw: Mapping[str, Any], sliding_window: int) -> EncoderConfig:
        """Reads config.json. `sliding_window` replaces the one in the file unless it is 0.

        Raises CheckpointError, naming the key, for anything unknown, missing or not implemented.
        """

    def plan_weights(self, config: EncoderConfig, dtype: "torch.dtype") -> "WeightPlan":
        """Lays out the memory for the tensors that the encoder needs; `dtype` is that of matrices."""
