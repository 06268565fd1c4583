"""What a process comes to hold by running batches, to be called in one that has done nothing else."""

from pathlib import Path

import numpy as np

from gemwire_server.checkpoint import open_checkpoint
from gemwire_server.packing import pack
from gemwire_server.runner import ModelRunner

STATUS = Path("/proc/self/status")
VOCABULARY = 2048


def growth(checkpoint: Path, weights: str) -> int:
    """kB that 500 batches add after 100."""
    runner = ModelRunner.load(
        open_checkpoint(str(checkpoint)), dtype="auto", weights=weights, threads=2
    )
    random = np.random.default_rng(6)

    def run(lengths: list[int]) -> None:
        runner.run(pack([random.integers(0, VOCABULARY, n, dtype=np.int32) for n in lengths]))

    def after(batches: int) -> int:
        for _ in range(batches):
            run(random.integers(1, 60, random.integers(1, 20)).tolist())
        line = next(line for line in STATUS.read_text().splitlines() if "RssAnon" in line)
        return int(line.split()[1])

    run([2048])
    before = after(100)
    return after(500) - before
