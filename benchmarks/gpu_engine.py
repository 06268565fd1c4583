"""Part c measures the engine on a GPU, from token ids on the host to vectors on the host.

Throughput of packed batches with two steps under way, as the server's engine runs them, for texts of 128,
512 and 2,048 tokens and of mixed lengths; the time of one 16-token query, of one text of other lengths and
of one step; where a step's time goes; and what each option of the engine changes.

    python benchmarks/gpu_engine.py [--model DIR] [--seconds 55] [--tile-table FILE] [--output FILE]

Prints tables; the last line is JSON.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from card import card, clocks_under_load, quantile, require_cuda
from environment import environment, full_checkpoint
from gemwire_kernels.gpu.tiles import find_table, merge, to_entry
from gemwire_server.checkpoints import Checkpoint, open_checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.packing import PackedBatch, TokenIds, pack
from gemwire_server.errors import DeviceError, DeviceLost, one_line
from gemwire_server.runners.cuda import CudaRunner
from gpu_load import Served, load, packed, random_ids, served, timed
from measure import keep
from part import part_parser

LONGEST_VARIANT = 11.0  # seconds to load, capture and measure one
FAILURES = (DeviceError, DeviceLost, RuntimeError)


@dataclass(frozen=True)
class Sizes:
    """Says how much is measured."""

    tokens_of_a_round: int = 300_000  # 0.15 s at the goals
    rounds: int = 3
    queries: int = 1000
    steps: int = 10


class Measured:
    """Holds the loads of one run, the same for every engine, and measures engines with them."""

    def __init__(self, checkpoint: Checkpoint, what: Served, sizes: Sizes) -> None:
        self.checkpoint, self.what, self.sizes = checkpoint, what, sizes
        random, count = np.random.default_rng(0), sizes.tokens_of_a_round
        self.texts: dict[str, list[TokenIds]] = {
            str(length): self._ids([length] * (count // length), random) for length in what.lengths
        }
        for name, lengths in what.mixes.items():
            self.texts[name] = self._ids(lengths, random)
        self.query = pack(self._ids([what.query], random))

    def _ids(self, lengths: Sequence[int], random: np.random.Generator) -> list[TokenIds]:
        return random_ids(lengths, self.checkpoint.config.vocab_size, random)

    def throughput(self, runner: CudaRunner, budget: int) -> dict[str, float]:
        """Measures tokens/s by load, in steps of up to `budget` tokens."""
        run = packed(runner, budget)
        found = {}
        for name, texts in self.texts.items():
            run(texts)
            seconds = median(timed(run, texts) for _ in range(self.sizes.rounds))
            found[name] = sum(map(len, texts)) / seconds
        return found

    def latency(self, runner: CudaRunner) -> dict[str, float]:
        """Measures milliseconds of one query, and of one text of each other length."""
        times = self._times(runner, self.query, self.sizes.queries)
        found = {"query_ms": median(times), "query_p99_ms": quantile(times, 0.99)}
        for length in self.what.alone:
            text = pack(self._ids([length], np.random.default_rng(2)))
            times = self._times(runner, text, self.sizes.queries // 5 or 1)
            found[f"text_of_{length}_ms"] = median(times)
        return found

    @staticmethod
    def _times(runner: CudaRunner, batch: PackedBatch, runs: int) -> list[float]:
        """Returns milliseconds of each run, after one that warms up."""
        runner.run(batch)
        times = []
        for _ in range(runs):
            started = time.perf_counter()
            runner.run(batch)
            times.append((time.perf_counter() - started) * 1e3)
        return times

    def step(self, runner: CudaRunner, budget: int) -> dict[str, Any]:
        """Measures milliseconds of one full step alone, and microseconds of each kernel in it."""
        length = self.what.lengths[-2]
        texts = self._ids([length] * max(1, budget // length), np.random.default_rng(1))
        batch = pack(texts)
        times = self._times(runner, batch, self.sizes.steps)
        return {
            "tokens": batch.num_tokens,
            "ms": median(times),
            "kernels_us": kernels_of(runner, batch),
        }


def kernels_of(runner: CudaRunner, batch: PackedBatch) -> dict[str, float]:
    """Measures microseconds by name: a kernel's count from its start, or from the end of the kernel before
    if that is later, to its own end.

    Chained kernels come up while others run: how long each was there says nothing.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        runner.run(batch)
    spans = [
        (event.time_range.start, event.time_range.end, event.name)
        for event in profile.events() or ()
        if event.device_type.name == "CUDA"
    ]
    found: dict[str, float] = {}
    before = 0.0
    for start, end, name in sorted(spans, key=lambda span: span[1]):
        found[name] = found.get(name, 0.0) + end - max(start, before)
        before = end
    return dict(sorted(found.items(), key=lambda item: -item[1])[:16])


def main() -> int:
    args = part_parser(__doc__, seconds=55.0).parse_args()
    device = require_cuda()
    end = time.monotonic() + args.seconds
    checkpoint = open_checkpoint(args.model or str(full_checkpoint()))
    what = served(args)
    measured = Measured(checkpoint, what, Sizes(16, 1, 1, 1) if args.dry_run else Sizes())
    result: dict[str, Any] = {
        "benchmark": "gpu_engine",
        "environment": environment() | {"card": card()},
        "engines": {},
        "steps": {},
        "not_run": {},
    }
    with TemporaryDirectory() as folder:
        for name, config in variants(what, device, Path(folder)).items():
            first = args.dry_run or not result["engines"]
            if time.monotonic() > end - (0.0 if first else LONGEST_VARIANT):
                result["not_run"][name] = "no time was left"
                continue
            runner = None  # the one before
            try:
                runner = load(checkpoint, config)
                for budget in what.budgets if name == "served" else (config.max_batch_tokens,):
                    clocks: dict[str, float] = {}
                    with clocks_under_load(clocks):
                        found = measured.throughput(runner, budget)
                    found |= measured.latency(runner)
                    label = f"{name}, steps of {budget}"
                    more = {"description": runner.description, "clocks": clocks}
                    result["engines"][label] = found | more
                    print(line_of(label, found), flush=True)
                    keep(result, args.output)
                if name == "served":
                    for budget in (what.budgets[0], what.budgets[-1]):
                        result["steps"][str(budget)] = measured.step(runner, budget)
                    result["query_us"] = kernels_of(runner, measured.query)
            except FAILURES as error:  # of an option; the others still run
                result["not_run"][name] = f"{type(error).__name__}: {one_line(error)}"
                print(f"{name}: {result['not_run'][name]}", flush=True)
            keep(result, args.output)
    report(result)
    print(json.dumps(result))
    return 0 if result["engines"] else 1


def variants(what: Served, device: torch.device, folder: Path) -> dict[str, ServerConfig]:
    """Returns the served engine, which takes steps of every budget, then engines with one option changed.

    The option that is likely to become the default comes first, in case time ends the run.
    """
    largest = what.budgets[-1]
    chained, unchained = (
        str(chained_table(device, folder / f"{chained}.json", what.base.tile_table, chained))
        for chained in (True, False)
    )
    return {
        "served": what.config(max_batch_tokens=largest),
        "bf16 residual": what.config(max_batch_tokens=largest, residual="bf16"),
        "chained": what.config(max_batch_tokens=largest, tile_table=chained),
        "unchained": what.config(max_batch_tokens=largest, tile_table=unchained),
        "cuBLAS": what.config(max_batch_tokens=largest, deterministic=False),
        "no graphs": what.config(max_batch_tokens=largest, cuda_graphs=False),
    }


def chained_table(
    device: torch.device, path: Path, tile_table: str = "", chained: bool = True
) -> Path:
    """Writes the card's table with or without programmatic dependent launch, and returns the path."""
    properties = torch.cuda.get_device_properties(device)
    shared_memory = properties.shared_memory_per_block_optin
    extra = Path(tile_table) if tile_table else None
    table = find_table(properties.name, shared_memory, "bfloat16", extra, major=properties.major)
    sets = table.with_chained(chained).sets
    merge(path, to_entry(sets, properties.name, "bfloat16"))
    return path


def line_of(label: str, found: dict[str, float]) -> str:
    rates = " ".join(f"{rate / 1e6:6.3f}" for name, rate in found.items() if "ms" not in name)
    return (
        f"{label:30} {rates} M tokens/s; query {found['query_ms']:.3f} ms, "
        f"p99 {found['query_p99_ms']:.3f}"
    )


def report(result: dict[str, Any]) -> None:
    print(f"M tokens/s of: {', '.join(next(iter(result['engines'].values()), {}))}")
    for name, why in result["not_run"].items():
        print(f"not run: {name}: {why}")
    for step in result["steps"].values():
        print(f"a step of {step['tokens']} tokens: {step['ms']:.3f} ms")
        report_kernels(step["kernels_us"])
    print("a query's kernels:")
    report_kernels(result.get("query_us", {}))


def report_kernels(kernels: dict[str, float]) -> None:
    total = sum(kernels.values()) or 1.0
    for name, microseconds in kernels.items():
        print(f"{microseconds:9.0f} µs {microseconds / total:5.1%}  {name[:60]}")


if __name__ == "__main__":
    sys.exit(main())
