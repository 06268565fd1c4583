"""Runs the engine's own check at start, of every bucket against plain PyTorch, and compares bits.

    python benchmarks/gpu_selfcheck.py [--model DIR] [--output FILE]

Exits with 1, with the reason last, if a bucket gives other vectors or a text other bits.
"""

import sys
import time
from typing import Any

import numpy as np
import torch

from card import require_cuda
from environment import full_checkpoint
from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.engine.packing import pack
from gemwire_server.errors import DeviceError, one_line
from gemwire_server.runners.cuda import BUCKETS, CudaRunner
from gpu_load import load, packed, random_ids, served
from measure import keep
from part import part_parser

REPLAYS = 300


def main() -> int:
    args = part_parser(__doc__, seconds=60.0).parse_args()
    require_cuda()
    checkpoint = open_checkpoint(args.model or str(full_checkpoint()))
    result: dict[str, Any] = {"stable": {}}
    # As it is served first: its memory is a goal. The larger buckets are then compiled already.
    default = served(args)
    for name, budget in (("default", default.budgets[0]), ("largest", default.budgets[-1])):
        started = time.monotonic()
        try:
            runner = load(checkpoint, default.config(max_batch_tokens=budget))
        except DeviceError as error:
            print(f"{name}: {one_line(error)}")
            return 1
        result[name] = {
            "description": runner.description,
            "start_seconds": time.monotonic() - started,
            "reserved_bytes": torch.cuda.memory_reserved(),
        }
        keep(result, args.output)
        print(f"{name}: every bucket agrees, {result[name]['start_seconds']:.1f} s", flush=True)
    result["stable"] = stable(runner, default.lengths[-1], 2 if args.dry_run else REPLAYS)
    keep(result, args.output)
    unstable = [name for name, same in result["stable"].items() if not same]
    print(f"other bits: {', '.join(unstable)}" if unstable else "the same bits in every way")
    return 1 if unstable else 0


def stable(runner: CudaRunner, longest: int, replays: int) -> dict[str, bool]:
    """Returns for each way to run texts whether their bits are the same."""
    random, vocabulary = np.random.default_rng(3), runner.encoder.config.vocab_size
    lengths = [n for n in (1, 2, 42, 43, 64, 128, 257, 513, 2048) if n <= longest]
    texts = random_ids(lengths, vocabulary, random)
    alone = np.concatenate([runner.run(pack([ids])) for ids in texts])
    first = runner.run(pack(texts))
    turned = runner.run(pack(texts[::-1]))[::-1]
    again = [runner.run(pack(texts)) for _ in range(replays)]
    short = texts[0]
    buckets = []
    for size in BUCKETS:
        room = size - len(short)
        others = [longest] * (room // longest) + [room % longest] * (room % longest > 0)
        full = pack([*random_ids(others, vocabulary, random), short])
        buckets.append(np.array_equal(runner.run(full)[-1], alone[0]))
    under_way = packed(runner, sum(lengths))(texts * 6)
    return {
        "alone and together": np.array_equal(alone, first),
        "in another order": np.array_equal(turned, first),
        "in every bucket": all(buckets),
        "two steps under way": np.array_equal(under_way, np.tile(first, (6, 1))),
        f"in {replays} replays": all(np.array_equal(one, first) for one in again),
    }


if __name__ == "__main__":
    sys.exit(main())
