"""From a configuration to a model that computes: what the owner of an engine loads."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.checkpoint import Checkpoint
from gemwire_server.config import RUNNER, ServerConfig
from gemwire_server.engine import Runner
from gemwire_server.rpc.model import describe


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
    """`config` knows what suits the device; `model` is what the API says of it."""

    runner: DescribedRunner
    config: ServerConfig
    model: pb.Model


def load(checkpoint: Checkpoint, config: ServerConfig, loader: str = RUNNER) -> Loaded:
    """The checkpoint on its device, warmed up. Raises CheckpointError or DeviceError."""
    module, _, name = loader.partition(":")
    make: Loader = getattr(importlib.import_module(module), name)
    runner = make(checkpoint, config)
    config = replace(config, max_batch_tokens=config.max_batch_tokens or runner.batch_tokens)
    return Loaded(runner, config, describe(checkpoint, runner, config))
