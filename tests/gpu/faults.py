"""What ends a device or may, each in a process of its own; run by test_gpu_faults.

python faults.py no-room|no-room-auto|illegal-access CHECKPOINT [LIMIT_BYTES]
python faults.py chained CHECKPOINT UNCHAINED_TILE_TABLE CHAINED_TILE_TABLE
"""

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray

from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.cli import main as gemwire
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.interface import Output
from gemwire_server.engine.packing import PackedBatch, pack
from gemwire_server.engine.thread_engine import ThreadEngine
from gemwire_server.errors import DeviceLost, Stopped
from gemwire_server.runners.choose import load_runner
from gemwire_server.runners.cuda import CudaRunner
from gpu.runners import alone, load, random_ids
from support.fake_runner import Caller

# What makes the device fail, and is in no other text.
BAD = 7


@triton.jit
def _stray(pointer, offset):  # type: ignore[no-untyped-def]
    tl.store(pointer + offset, 1)


class Failing:
    """A runner whose device fails under a batch that holds BAD."""

    depth = CudaRunner.depth

    def __init__(self, runner: CudaRunner) -> None:
        self.runner = runner
        self._memory = torch.zeros(1, dtype=torch.int32, device=runner.device)

    def start(self, batch: PackedBatch, output: Output) -> Callable[[], NDArray[np.float32]]:
        if BAD in batch.input_ids:
            with torch.cuda.stream(self.runner._stream):
                _stray[(1,)](self._memory, 1 << 40)
        return self.runner.start(batch, output)


def illegal_access(checkpoint: Path) -> None:
    runner = load(checkpoint)
    texts = [np.where(ids == BAD, 8, ids) for ids in random_ids([700, 9, 43] * 20, runner, seed=1)]
    expected = alone(runner, texts)
    bad = np.full(5, BAD, np.int32)
    dead = threading.Event()
    engine = ThreadEngine(
        Failing(runner), max_batch_tokens=5632, max_queue_tokens=1 << 20, on_death=dead.set
    )
    callers = [Caller(1) for _ in range(len(texts) + 1)]
    half = len(texts) // 2
    for ids, caller in zip(texts[:half], callers, strict=False):
        engine.submit([ids], caller.submission)
    assert all(caller.done.wait(60) for caller in callers[:half])
    refused = 0
    for ids, caller in zip([bad, *texts[half:]], callers[half:], strict=True):
        try:
            engine.submit([ids], caller.submission)
        except Stopped:
            refused += 1
            caller.done.set()
    outcomes: list[str] = []
    wrong = 0
    for ids, caller in zip([*texts[:half], bad, *texts[half:]], callers, strict=True):
        assert caller.done.wait(60), "not answered"
        for part in caller.results:
            outcomes.append(part.error.reason if part.error else "vector")
            if part.vectors is not None:
                row = next(i for i, text in enumerate(texts) if text is ids)
                wrong += not np.array_equal(part.vectors[0], expected[row])
    died = dead.wait(60)
    engine.close()
    try:
        engine.submit([bad], Caller(1).submission)
        takes_more = True
    except Stopped:
        takes_more = False
    try:
        runner.run(PackedBatch(bad, np.arange(5, dtype=np.int32), np.array([0, 5], np.int32)))
        runs_on = True
    except DeviceLost:
        runs_on = False
    said = {
        "bad": outcomes[half],
        "before": sorted(set(outcomes[:half])),
        "after": sorted(set(outcomes[half:])),
        "refused": refused,
        "wrong": wrong,
        "died": died,
        "takes_more": takes_more,
        "runs_on": runs_on,
    }
    print(json.dumps(said), flush=True)


def chained(checkpoint: Path, unchained_table: str, chained_table: str) -> None:
    """Kernels that come up while the one before still runs: each batch many times, as it should be."""
    runner = load(checkpoint, tile_table=unchained_table)
    assert "chained" not in runner.description, runner.description
    batches = [
        pack(random_ids(lengths, runner, seed=i))
        for i, lengths in enumerate([(16,), (30, 2), (300, 43), (2048, 2048, 1536), (1,) * 500])
    ]
    expected = [runner.run(batch) for batch in batches]
    runner = load(checkpoint, tile_table=chained_table)
    assert ", chained, " in runner.description, runner.description
    for batch, vectors in zip(batches, expected, strict=True):
        for _ in range(200):
            assert np.array_equal(runner.run(batch), vectors)


def main() -> int:
    mode, checkpoint = sys.argv[1], Path(sys.argv[2])
    if mode == "chained":
        chained(checkpoint, *sys.argv[3:])
        return 0
    if mode == "illegal-access":
        illegal_access(checkpoint)
        return 0
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(int(sys.argv[3]) / total)
    if mode == "no-room":
        return gemwire(["verify", "--model", str(checkpoint), "--device", "cuda"])
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    config = ServerConfig(model=str(checkpoint))
    print(load_runner(open_checkpoint(config.model), config).description)
    return 0


if __name__ == "__main__":
    try:
        code = main()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # the threads of an engine that was not closed would stay
    sys.exit(code)
