"""Every kernel over small batches, launched one by one; run under compute-sanitizer.

    PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck python tests/gpu/sanitize.py
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool initcheck python tests/gpu/sanitize.py --exact

With --exact no block has rows to spare: what is beyond a batch's tokens is loaded by whole tiles and then
not used, which initcheck cannot tell. Each tensor has an allocation of its own, so that one row too far is
out of bounds.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from gemwire_kernels.gpu import GpuOps
from gemwire_server.checkpoints import open_checkpoint, synthetic
from gemwire_server.engine.packing import pack
from gemwire_server.runners.cuda import attention_of

# Of the published sizes, but for depth and vocabulary: the last of six layers attends to everything.
SMALL = replace(
    synthetic.GEOMETRIES["embeddinggemma-300m"], num_hidden_layers=6, vocab_size=2048, dense=768
)
BATCHES = ([1], [1, 1, 1], [43, 1, 22], [64], [130, 7], [258, 259], [300, 1, 42, 700], [1] * 90)
CAPACITIES = (64, 1024, 2816)  # one for each set of tiles
DEVICE = torch.device("cuda:0")


def main() -> int:
    exact = "--exact" in sys.argv[1:]
    # Where there is no GPU, the interpreter takes minutes for more.
    dry_run = "--dry-run" in sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for geometry in ("tiny",) if dry_run else ("tiny", "small"):
            synthetic.GEOMETRIES["small"] = SMALL
            path = Path(folder) / geometry
            synthetic.make_checkpoint(path, geometry=geometry, seed=1)
            for dtype in (
                (torch.bfloat16, torch.float32) if geometry == "tiny" else (torch.bfloat16,)
            ):
                if dry_run:
                    run_batches(path, dtype, BATCHES[:1], CAPACITIES[:1], exact)
                else:
                    run_batches(path, dtype, BATCHES, CAPACITIES, exact)
    print("every batch gave finite vectors")
    return 0


def run_batches(
    path: Path,
    dtype: torch.dtype,
    batches: Sequence[list[int]],
    capacities: Sequence[int],
    exact: bool,
) -> None:
    checkpoint = open_checkpoint(str(path))
    ops = GpuOps.on(DEVICE, attention_of(checkpoint.config), dtype)
    encoder = checkpoint.load_encoder(ops, dtype, DEVICE)
    random = np.random.default_rng(2)
    for lengths in batches:
        batch = pack([random.integers(0, 2048, length, dtype=np.int32) for length in lengths])
        sizes = [batch.num_tokens] if exact else [c for c in capacities if c >= batch.num_tokens]
        for size in sizes:
            block = ops.block(size)
            host = block.host()
            block.fill(host, batch.input_ids, batch.positions, batch.cu_seqlens)
            block.upload(host)
            vectors = encoder.forward(block.batch)[: batch.num_texts].cpu()
            assert vectors.isfinite().all(), (path.name, dtype, lengths, size)


if __name__ == "__main__":
    sys.exit(main())
