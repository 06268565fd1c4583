"""Memory that a process gains by running batches. To be called in a process of its own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from gemwire_kernels.cpu import NativeOps, PortableOps, best_dtype, make_ops
from gemwire_kernels.formats import INT8_ROWS
from gemwire_kernels.ops import Ops
from gemwire_kernels.tensors import FORMAT_OF
from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.engine.packing import pack
from gemwire_server.runners.cpu import CpuRunner

STATUS = Path("/proc/self/status")
VOCABULARY, LONGEST = 2048, 2048
THREADS = 2

# Each is made for a dtype: as a server chooses, and what it would choose on other machines (with AMX,
# without a compiler), forced here.
MAKERS: dict[str, Callable[[torch.dtype], Ops]] = {
    "chosen": lambda dtype: make_ops(dtype, weights=FORMAT_OF[dtype], threads=THREADS),
    "chosen, int8": lambda dtype: make_ops(dtype, weights=INT8_ROWS, threads=THREADS),
    "oneDNN products": lambda dtype: NativeOps(
        dtype, weights=FORMAT_OF[dtype], threads=THREADS, products=False
    ),
    "portable": lambda dtype: PortableOps(dtype, weights=FORMAT_OF[dtype]),
    "portable, int8": lambda dtype: PortableOps(dtype, weights=INT8_ROWS),
}


def growth(checkpoint: Path, ops_name: str, dtype_name: str) -> int:
    """kB that 150 batches of 1 to 2,048 tokens add after 50; dtype "auto" is the machine's best."""
    torch.set_num_threads(THREADS)
    dtype = best_dtype() if dtype_name == "auto" else getattr(torch, dtype_name)
    opened = open_checkpoint(str(checkpoint))
    ops = MAKERS[ops_name](dtype)
    runner = CpuRunner(opened.load_encoder(ops, dtype, torch.device("cpu")))
    random = np.random.default_rng(6)

    def run(tokens: int) -> None:
        """Some texts of so many tokens together; most batches are small, as in service."""
        lengths = np.diff([0, *np.sort(random.integers(0, tokens + 1, random.integers(5))), tokens])
        runner.run(pack([random.integers(0, VOCABULARY, n, dtype=np.int32) for n in lengths if n]))

    def after(batches: int) -> int:
        for _ in range(batches):
            run(int(np.exp(random.uniform(0, np.log(LONGEST)))))
        line = next(line for line in STATUS.read_text().splitlines() if "RssAnon" in line)
        return int(line.split()[1])

    run(LONGEST)
    before = after(50)
    return after(150) - before
