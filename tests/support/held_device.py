"""The real model, on a device that a test can hold."""

import itertools
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from gemwire_server.engine.interface import Output
from gemwire_server.engine.packing import PackedBatch
from gemwire_server.runners.cpu import CpuRunner

WAIT = 30.0


class HeldDevice:
    """Wraps `CpuRunner.run`: while held, a step begins and does not end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.computed_texts = 0
        self.steps: list[list[list[int]]] = []  # the ids of each text of each step
        self.largest_batch = 0
        self._free = threading.Event()
        self._free.set()
        self._running = False
        run = CpuRunner.run

        def held_run(
            runner: CpuRunner, batch: PackedBatch, output: Output = Output.UNIT
        ) -> NDArray[np.float32]:
            if not self._free.is_set():
                self._running = True
                assert self._free.wait(WAIT), "the test never released the device"
                self._running = False
            vectors = run(runner, batch, output)
            bounds = batch.cu_seqlens.tolist()
            self.steps.append(
                [batch.input_ids[a:b].tolist() for a, b in itertools.pairwise(bounds)]
            )
            self.computed_texts += batch.num_texts
            self.largest_batch = max(self.largest_batch, batch.num_texts)
            return vectors

        monkeypatch.setattr(CpuRunner, "run", held_run)

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def step_of(self, ids: Sequence[int]) -> int:
        """The number of the step that computed this text."""
        return next(i for i, texts in enumerate(self.steps) if list(ids) in texts)

    def wait_until_running(self) -> None:
        """Waits until a step is on the held device."""
        deadline = time.monotonic() + WAIT
        while not self._running:
            assert time.monotonic() < deadline, "no step began"
            time.sleep(0.001)
