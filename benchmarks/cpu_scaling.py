"""Part h measures what more cores are worth, on a machine with many cores. It needs no GPU.

The CPU engine with 1, 2, 4, 8 and 16 threads, as far as there are cores, on texts of 512 tokens, of mixed
lengths and on one query; and unary calls a second of 1, 2, 4 and 8 fronts before an engine that has next to
nothing to compute.

    python benchmarks/cpu_scaling.py [--model DIR] [--seconds 300] [--output FILE]

Prints a table; the last line is JSON.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench_command import bench
from environment import environment, full_checkpoint
from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.checkpoints.synthetic import make_checkpoint
from gemwire_server.engine.packing import pack
from gemwire_server.runners.cpu import CpuRunner
from measure import keep
from part import part_parser
from peers.gemwire import batches
from server_process import server_process

COUNTS = (1, 2, 4, 8, 16)
FRONTS = (1, 2, 4, 8)
ROUNDS = 3
LOADS = {"512": [512] * 8, "mixed": [17, 40, 90, 33, 260, 12, 64, 150] * 8, "query": [16]}
DRY_LOADS = {"512": [40, 8], "mixed": [2, 3], "query": [4]}
CALLS = ("--callers", "64", "--tokens", "8", "--connections", "4")


def main() -> int:
    parser = part_parser(__doc__, seconds=300.0)
    parser.add_argument("--threads", type=int, help="measure this one number and end")
    args = parser.parse_args()
    end = time.monotonic() + args.seconds
    model = args.model or str(full_checkpoint())
    if args.threads:
        print(json.dumps(engine(model, args.threads, DRY_LOADS if args.dry_run else LOADS)))
        return 0
    cores = os.cpu_count() or 1
    result: dict[str, Any] = {
        "benchmark": "cpu_scaling",
        "environment": environment(),
        "cores": cores,
        "threads": {},
        "fronts": {},
        "not_run": {},
    }
    for threads in [count for count in COUNTS if count <= cores]:
        command = [sys.executable, __file__, "--model", model, "--threads", str(threads)]
        left = end - time.monotonic()
        try:  # in a process of its own: thread pools keep the size they were made with
            done = subprocess.run(
                [*command, *(["--dry-run"] if args.dry_run else [])],
                stdout=subprocess.PIPE,
                text=True,
                timeout=max(1.0, left),
                check=True,
            )
        except subprocess.SubprocessError as error:
            result["not_run"][f"{threads} threads"] = type(error).__name__
            continue
        found = result["threads"][str(threads)] = json.loads(done.stdout.splitlines()[-1])
        keep(result, args.output)
        figures = ", ".join(f"{name} {value:.1f}" for name, value in found.items())
        print(f"{threads:3} threads: {figures}", flush=True)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "tiny"
        make_checkpoint(folder, geometry="tiny", seed=0)
        for fronts in FRONTS[: 2 if args.dry_run else None]:
            seconds = 1.0 if args.dry_run else 5.0
            if time.monotonic() + seconds + 15 > end:
                result["not_run"][f"{fronts} fronts"] = "no time was left"
                continue
            workers = str(max(1, cores // 3))
            flags = ["--device", "cpu", "--threads", "1", "--fronts", str(fronts)]
            with server_process(folder, *flags) as server:
                calls = bench(server.address, seconds, *CALLS, "--workers", workers)
            result["fronts"][str(fronts)] = calls
            keep(result, args.output)
            print(f"{fronts:3} fronts: {calls['calls_per_second']:.0f} calls/s", flush=True)
    for label, why in result["not_run"].items():
        print(f"not run: {label}: {why}")
    keep(result, args.output)
    print(json.dumps(result))
    return 0 if result["threads"] else 1


def engine(model: str, threads: int, loads: dict[str, list[int]]) -> dict[str, float]:
    """Measures tokens/s by load, and milliseconds of the query."""
    checkpoint = open_checkpoint(model)
    runner = CpuRunner.load(checkpoint, dtype="auto", threads=threads)
    budget, vocabulary = runner.batch_tokens, checkpoint.config.vocab_size
    random, found = np.random.default_rng(0), {}
    for name, lengths in loads.items():
        texts = [random.integers(0, vocabulary, length, dtype=np.int32) for length in lengths]
        steps = [pack(step) for step in batches(texts, budget)]
        times = []
        for _ in range(ROUNDS + 1):
            started = time.perf_counter()
            for step in steps:
                runner.run(step)
            times.append(time.perf_counter() - started)
        seconds = median(times[1:])
        found[name] = sum(lengths) / seconds
    found["query_ms"] = 1e3 * seconds
    return found


if __name__ == "__main__":
    sys.exit(main())
