"""`gemwire verify` of the GPU's kernels without a GPU: Triton's interpreter, bfloat16, the tile sizes of a
Hopper card, the full geometry. It shows what they compute, and nothing of how fast.

    python benchmarks/gpu_interpreted.py [--model DIR] [--texts FILE]

Most of an hour for the texts that come with gemwire. Exits with 1 outside of the gate.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

import triton_interpreter
from environment import full_checkpoint
from gemwire_kernels.gpu import GpuOps, find_table
from gemwire_server import verify
from gemwire_server.checkpoints import Checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.interface import Output
from gemwire_server.engine.packing import PackedBatch
from gemwire_server.runners.cpu import CpuRunner
from gemwire_server.runners.cuda import attention_of

# An H100's.
SHARED_MEMORY, MULTIPROCESSORS = 232448, 132
BATCH_TOKENS = 2048


class Interpreted(CpuRunner):
    """The GPU's operations on the CPU."""

    @property
    def description(self) -> str:
        ops = self.encoder.ops
        assert isinstance(ops, GpuOps)
        return f"Triton's interpreter, {self.dtype_name}, tiles: {ops.table.source}"

    def run(self, batch: PackedBatch, output: Output = Output.UNIT) -> NDArray[np.float32]:
        rows = batch.num_tokens if output is Output.TOKENS else batch.num_texts
        return super().run(batch, output)[:rows]


def load(checkpoint: Checkpoint, config: ServerConfig) -> CpuRunner:
    triton_interpreter.teach()
    cpu = torch.device("cpu")
    ops = GpuOps(
        attention_of(checkpoint.config),
        find_table("Hopper", SHARED_MEMORY, "bfloat16"),
        dtype=torch.bfloat16,
        device=cpu,
        multiprocessors=MULTIPROCESSORS,
    )
    return Interpreted(checkpoint.load_encoder(ops, torch.bfloat16, cpu))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="checkpoint folder; default: a seeded one of full geometry")
    parser.add_argument("--texts", type=Path, help="a text a line")
    args = parser.parse_args()
    config = ServerConfig(model=args.model or str(full_checkpoint()), max_batch_tokens=BATCH_TOKENS)
    return verify.run(config, args.texts, "fp32", load)


if __name__ == "__main__":
    sys.exit(main())
