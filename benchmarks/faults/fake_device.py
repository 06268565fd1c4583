"""A runner whose steps take a set time, and that fails on purpose.

A server gets it by the name of `load`; a test reaches it through `Controls`, and through the ids of
`marked` texts. It sleeps, so that a machine of two cores has both for what is tested.
"""

import os
import signal
import time
from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from faults.controls import Controls
from faults.marked import Fault, number_of
from gemwire_server.checkpoints import Checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.interface import Output
from gemwire_server.engine.packing import PackedBatch
from gemwire_server.errors import DeviceLost

VECTORS = 4093  # prime
RAW_LENGTH = 24.0  # of a vector that is not normalized
POLL_SECONDS = 0.001
IN_VECTORS = (Fault.NAN, Fault.NARROW)
"""Faults of the vectors that a step returns; the others keep it from returning any."""


def load(checkpoint: Checkpoint, config: ServerConfig) -> "FakeDevice":
    """Satisfies `gemwire_server.runners.loading.Loader`."""
    device = FakeDevice(
        checkpoint.dimensions[0], checkpoint.config.hidden_size, Controls.from_environment()
    )
    time.sleep(device.controls.get("load_seconds"))
    return device


def vector(ids: NDArray[np.int32], dimensions: int) -> NDArray[np.float32]:
    """The device's vector of a text; nearly every other text has another one."""
    places = np.arange(1, len(ids) + 1, dtype=np.int64)
    found: NDArray[np.float32] = _vectors(dimensions)[int(ids @ places) % VECTORS]
    return found


def states(ids: NDArray[np.int32], hidden_size: int) -> NDArray[np.float32]:
    """The device's state of each token of a text; NaN for the token of that fault."""
    found = _vectors(hidden_size)[ids % VECTORS]
    found[ids == Fault.NAN] = np.nan
    return found


@cache
def _vectors(dimensions: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(0).standard_normal((VECTORS, dimensions), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


class FakeDevice:
    """Satisfies `gemwire_server.runners.loading.DescribedRunner`."""

    depth = 1
    batch_tokens = 512
    dtype_name = "float32"
    description = "fake device"

    def __init__(self, dimensions: int, hidden_size: int, controls: Controls) -> None:
        self.dimensions = dimensions
        self.hidden_size = hidden_size
        self.controls = controls
        self._free_at = 0.0

    def start(self, batch: PackedBatch, output: Output) -> Callable[[], NDArray[np.float32]]:
        began = max(time.monotonic(), self._free_at)
        seconds = self.controls.get("step_seconds")
        seconds += self.controls.get("token_seconds") * batch.num_tokens
        self._free_at = began + seconds
        return partial(self._end, batch, output, began, began + seconds)

    def _end(
        self, batch: PackedBatch, output: Output, began: float, end_at: float
    ) -> NDArray[np.float32]:
        while (left := end_at - time.monotonic()) > 0:
            time.sleep(left)
        while time.monotonic() < self.controls.get("stalled_until"):
            time.sleep(POLL_SECONDS)
        texts = np.split(batch.input_ids, batch.cu_seqlens[1:-1])
        ended = time.monotonic()
        self.controls.record([(number_of(ids), len(ids), began, ended) for ids in texts])
        for fault in Fault:
            if fault not in IN_VECTORS and (batch.input_ids == fault).any():
                _commit(fault)
        if output is Output.TOKENS:
            return np.concatenate([states(ids, self.hidden_size) for ids in texts])
        vectors = np.stack([vector(ids, self.dimensions) for ids in texts])
        vectors *= RAW_LENGTH if output is Output.RAW else 1
        vectors[[(ids == Fault.NAN).any() for ids in texts]] = np.nan
        return vectors[:, 1:] if (batch.input_ids == Fault.NARROW).any() else vectors


def _commit(fault: Fault) -> None:
    match fault:
        case Fault.RAISE:
            raise RuntimeError("a fault on purpose")
        case Fault.LOST:
            raise DeviceLost("a fault on purpose")
        case Fault.HANG:
            while True:
                time.sleep(3600)
        case Fault.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Fault.ABORT:
            os.abort()
        case Fault.EXIT:
            os._exit(70)
