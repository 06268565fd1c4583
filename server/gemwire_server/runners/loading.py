"""Loads a checkpoint onto its device, as the configuration says."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from gemwire_server.checkpoints import Checkpoint
from gemwire_server.config.options import DEFAULT_LOADER, ServerConfig
from gemwire_server.engine.interface import Runner
from gemwire_server.served_model import ServedModel


class DescribedRunner(Runner, Protocol):
    """A runner that can say what it is."""

    @property
    def batch_tokens(self) -> int:
        """Tokens of a step that suit the device."""

    @property
    def dtype_name(self) -> str: ...

    @property
    def description(self) -> str: ...


Loader = Callable[[Checkpoint, ServerConfig], DescribedRunner]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model on its device. `config` has the tokens of a step that suit the device."""

    runner: DescribedRunner
    config: ServerConfig
    model: ServedModel


def load(checkpoint: Checkpoint, config: ServerConfig, loader: str = DEFAULT_LOADER) -> Loaded:
    """The checkpoint on its device, warmed up. Reads the weights' files, for their digest.

    Raises CheckpointError or DeviceError.
    """
    module, _, name = loader.partition(":")
    make: Loader = getattr(importlib.import_module(module), name)
    runner = make(checkpoint, config)
    config = replace(config, max_batch_tokens=config.max_batch_tokens or runner.batch_tokens)
    model = ServedModel(
        name=checkpoint.name,
        revision=checkpoint.revision(),
        dimensions=checkpoint.dimensions,
        default_dimensions=checkpoint.default_dimensions,
        hidden_size=checkpoint.config.hidden_size,
        max_tokens=checkpoint.max_tokens,
        vocabulary_size=checkpoint.config.vocab_size,
        prompts=checkpoint.prompts,
        default_task=config.default_task,
        dtype=runner.dtype_name,
        engine=runner.description,
    )
    return Loaded(runner, config, model)
