"""Chooses the device of the engine. No other module does."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch

from gemwire_server.checkpoints import Checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import DeviceError, one_line
from gemwire_server.runners.cpu import CpuRunner

if TYPE_CHECKING:
    from gemwire_server.runners.cuda import CudaRunner

log = logging.getLogger(__name__)

Runner: TypeAlias = "CpuRunner | CudaRunner"

OLDEST_CAPABILITY = (8, 0)  # bfloat16 matrix instructions
OLDEST_TRITON = (3, 6)


def load_runner(checkpoint: Checkpoint, config: ServerConfig) -> Runner:
    """Loads the checkpoint on the configured device, and warms up for steps of
    `batch_tokens(runner, config)`.

    "auto" takes the first GPU if it can serve, and logs the reason if it cannot. Raises DeviceError
    if a GPU that is asked for by name cannot serve, and for a tile table that cannot be read;
    CheckpointError for weights that give no vectors.
    """
    if config.tile_table:
        _check_tile_table(config.tile_table)
    # The GPU kernels multiply weights in the format of the dtype alone.
    if config.device != "cpu" and config.weights == "auto":
        try:
            return _load_cuda(checkpoint, config)
        except DeviceError as error:
            if config.device != "auto":
                raise
            if torch.cuda.is_available():
                log.warning("serving on the CPU: %s", error)
    runner = CpuRunner.load(
        checkpoint, dtype=config.dtype, threads=config.threads, weights=config.weights
    )
    runner.warm_up(batch_tokens(runner, config))
    return runner


def _check_tile_table(path: str) -> None:
    """Raises DeviceError for a file that is no tile table, also on machines where no GPU reads the file."""
    try:
        json.loads(Path(path).read_text("utf-8"))["measured"]
    except OSError as error:
        raise DeviceError(f"tile_table is {path!r}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DeviceError(f"tile_table is {path!r}: it is not what gemwire tune writes") from None


def batch_tokens(runner: Runner, config: ServerConfig) -> int:
    """Returns the tokens of a step: as configured, or as suits the device."""
    return config.max_batch_tokens or runner.batch_tokens


def _load_cuda(checkpoint: Checkpoint, config: ServerConfig) -> "CudaRunner":
    device = torch.device("cuda:0" if config.device in ("auto", "cuda") else config.device)
    check_cuda(device)
    from gemwire_server.runners.cuda import CudaRunner

    runner = CudaRunner.load(checkpoint, config, device)
    runner.warm_up(batch_tokens(runner, config))
    return runner


def check_cuda(device: torch.device) -> None:
    """Raises DeviceError, saying what to do, unless the kernels run on this device."""
    if not torch.cuda.is_available():
        raise DeviceError(
            "there is no CUDA device that PyTorch can use: see nvidia-smi and "
            "`python -m torch.utils.collect_env`, or serve with --device cpu"
        )
    index, count = device.index or 0, torch.cuda.device_count()
    if index >= count:
        raise DeviceError(f"there is no {device}: this machine has cuda:0 to cuda:{count - 1}")
    try:
        capability = torch.cuda.get_device_capability(device)
    except RuntimeError as error:  # a driver that lists a device and cannot use it
        raise DeviceError(f"{device}: {one_line(error)}") from error
    if capability < OLDEST_CAPABILITY:
        name = torch.cuda.get_device_name(device)
        raise DeviceError(
            f"{name} has compute capability {capability[0]}.{capability[1]}; the kernels need 8.0 "
            "(Ampere) or newer: serve with --device cpu"
        )
    try:
        import triton  # its distribution has several names
    except ModuleNotFoundError:
        raise DeviceError("the GPU kernels need Triton: pip install 'triton>=3.6'") from None
    if tuple(map(int, triton.__version__.split(".")[:2])) < OLDEST_TRITON:
        raise DeviceError(
            f"Triton {triton.__version__} is too old for the GPU kernels: pip install 'triton>=3.6'"
        )
