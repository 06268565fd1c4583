"""From a configuration to a model that computes: what the owner of an engine loads."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.checkpoints import Checkpoint
from gemwire_server.config.options import DEFAULT_LOADER, ServerConfig
from gemwire_server.engine.interface import Runner
from gemwire_server.errors import CheckpointError
from gemwire_server.fronts.grpc.gemwire_v1.model import describe

# Bytes of an answer beside the model that it describes: a tag and a length.
MODEL_OVERHEAD = 6


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


def load(checkpoint: Checkpoint, config: ServerConfig, loader: str = DEFAULT_LOADER) -> Loaded:
    """The checkpoint on its device, warmed up. Raises CheckpointError or DeviceError."""
    module, _, name = loader.partition(":")
    make: Loader = getattr(importlib.import_module(module), name)
    runner = make(checkpoint, config)
    config = replace(config, max_batch_tokens=config.max_batch_tokens or runner.batch_tokens)
    model = describe(checkpoint, runner, config)
    # Every client asks for the model first: without that answer it learns of no limit.
    if (size := model.ByteSize() + MODEL_OVERHEAD) > config.max_response_bytes:
        raise CheckpointError(
            f"{checkpoint.path}: GetModel, which lists its prompts, takes {size} bytes; "
            f"--max-response-bytes is {config.max_response_bytes}: raise it, or shorten the prompts"
        )
    return Loaded(runner, config, model)
