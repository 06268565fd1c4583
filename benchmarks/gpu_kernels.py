"""Part d: each kernel beside the card's own ceilings, then beside PyTorch's ways to do the same.

Sizes are EmbeddingGemma's, for 16, 512, 5,632 and 16,896 tokens. A contender is first compared with fp64
(memory it leaves unwritten is NaN), then timed: medians of graph replays in which contenders take turns,
each call on inputs that the L2 does not hold. The share is of the floor: the larger of the fewest bytes
at the speed of a copy and of the operations at that of a large cuBLAS product, both measured first.
gemwire's kernels and cuBLAS come first; the others, which take long to compile, in the time that is left.

    python benchmarks/gpu_kernels.py [--output FILE] [--seconds 55] [--tile-table FILE] [--only NAME]

Prints a table; the last line is JSON. Exits with 1 if a kernel of gemwire's fails or is wrong.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch

from card import card, ceilings, require_cuda
from environment import environment
from gemwire_kernels.gpu import Attention, GpuOps
from gemwire_kernels.gpu.timing import capture, input_sets, interleave, poisoned, relative_error
from gemwire_kernels.gpu.workbench import EMBEDDINGGEMMA, Workbench
from gemwire_server.errors import one_line
from measure import keep
from operations import VOCABULARY, Case, Operations
from part import part_parser

# What matters most first, for when time ends the run.
TOKENS = (16896, 16, 5632, 512)
SECONDS_OF_A_CASE = 0.2
QUICK = frozenset({"gemwire", "cublas"})  # contenders that compile nothing else
# A dry run's: all that a case has to show is that it runs.
DRY_SIZES = replace(
    EMBEDDINGGEMMA,
    attention=Attention(num_heads=3, num_kv_heads=1, head_dim=32),
    hidden=64,
    intermediate=64,
    window=8,
    positions=64,
)
DRY_TOKENS = (24,)


def main() -> int:
    parser = part_parser(__doc__, seconds=55.0)
    parser.add_argument("--only", default="", metavar="NAME", help="operations that begin with it")
    args = parser.parse_args()
    device = require_cuda()
    deadline = time.monotonic() + args.seconds
    torch._dynamo.config.cache_size_limit = 256
    top = ceilings(device, 1 << 10, 64) if args.dry_run else ceilings(device)
    print(
        f"copy {top['bytes_per_second'] / 1e12:.2f} TB/s, "
        f"matmul {top['flops_per_second'] / 1e12:.0f} TFLOP/s"
    )
    sizes, counts = (DRY_SIZES, DRY_TOKENS) if args.dry_run else (EMBEDDINGGEMMA, TOKENS)
    bench = Workbench(sizes, torch.bfloat16, device)
    ops = GpuOps.on(device, sizes.attention, torch.bfloat16, tile_file=args.tile_table)
    vocabulary = 64 if args.dry_run else VOCABULARY
    operations = Operations(
        bench, ops, bench.normal(vocabulary, sizes.hidden), bench.rotary(torch.float32)
    )
    result: dict[str, Any] = {
        "benchmark": "gpu_kernels",
        "environment": environment() | {"card": card()},
        "tiles": ops.table.source,
        "ceilings": top,
        "rows": [],
        "skipped": [],
    }
    print(
        f"{'':22} {'tokens':>6} {'contender':12} {'µs':>9} {'TB/s':>6} {'TFLOP/s':>8} {'share':>6}"
    )
    for quick, tokens in product((True, False), counts):
        for case in operations.cases(tokens):
            if not case.name.startswith(args.only):
                continue
            if time.monotonic() > deadline:
                result["skipped"].append(
                    f"{case.name}, {tokens} tokens{'' if quick else ', others'}"
                )
                continue
            try:
                found = measure(case, bench, top, quick=quick)
            except RuntimeError as error:  # a fault, after which nothing runs, or no room
                failed = f"{type(error).__name__}: {one_line(error)[:200]}"
                row = {"operation": case.name, "tokens": tokens, "contender": "gemwire"}
                found = [row | {"failed": failed}]
                if not isinstance(error, torch.OutOfMemoryError):
                    deadline = 0.0
            for row in found:
                show(row)
            result["rows"] += found
            keep(result, args.output)
            gc.collect()
            if deadline:
                torch.cuda.empty_cache()
    wrong = [row for row in result["rows"] if row["contender"] == "gemwire" and "failed" in row]
    if result["skipped"]:
        print(f"no time for {len(result['skipped'])} more")
    for row in wrong:
        print(f"FAILED: {row['operation']}, {row['tokens']} tokens: {row['failed']}")
    keep(result, args.output)
    print(json.dumps(result))
    return 1 if wrong else 0


def measure(
    case: Case, bench: Workbench, top: dict[str, float], *, quick: bool
) -> list[dict[str, Any]]:
    """A row for each contender, `quick` or of all: its error and time, or why it has none."""
    sets = [case.make() for _ in range(input_sets(case.bytes, bench.l2_bytes))]
    calls = {
        name: [one[0][name] for one in sets]
        for name in sets[0][0]
        if not quick or name in QUICK or case.cublas == name
    }
    if case.compile and not quick:
        # One compilation for all sets: what differs between them is only data.
        compiled = torch.compile(calls["torch"][0].func, dynamic=False)
        models = calls.get("compiled", calls["torch"])
        calls["compiled"] = [partial(compiled, *call.args) for call in models]
    truth = sets[0][1]()
    rows: dict[str, dict[str, Any]] = {
        name: {
            "operation": case.name,
            "tokens": case.tokens,
            "contender": name,
            "beside": "cuBLAS" if quick else "all",
        }
        for name in calls
    }
    replays = {}
    for name, each in calls.items():
        row = rows[name]
        try:
            if name not in case.partial:
                row["error"] = compare(each[0], truth, poison=name == "gemwire")
                if not row["error"] < case.tolerance:
                    row["failed"] = f"wrong: relative error {row['error']:.1e}"
                    continue
            replays[name] = capture(each)
        except Exception as error:
            torch.cuda.synchronize()  # a fault ends the run here: nothing runs after it
            row["failed"] = f"{type(error).__name__}: {one_line(error)[:200]}"
    floor = max(case.bytes / top["bytes_per_second"], case.flops / top["flops_per_second"])
    if replays:
        for name, seconds in interleave(replays, SECONDS_OF_A_CASE).items():
            rows[name] |= {
                "seconds": seconds,
                "bytes_per_second": case.bytes / seconds,
                "flops_per_second": case.flops / seconds,
                "share_of_ceiling": floor / seconds,
            }
    return list(rows.values())


def compare(call: Callable[[], Any], truth: tuple[torch.Tensor, ...], *, poison: bool) -> float:
    """The largest relative error of the outputs; of rows beyond the truth's nothing is known."""
    # Not for PyTorch's: to poison is to ask it for other, deterministic kernels.
    with poisoned() if poison else nullcontext():
        out = call()
    tensors = out if isinstance(out, tuple) else (out,)
    return max(
        relative_error(tensor[: len(wanted)].reshape(wanted.shape), wanted)
        for tensor, wanted in zip(tensors, truth, strict=True)
    )


def show(row: dict[str, Any]) -> None:
    start = f"{row['operation']:22} {row['tokens']:6} {row['contender']:12}"
    if "seconds" not in row:
        print(f"{start} {row.get('failed', 'not timed')}")
        return
    print(
        f"{start} {row['seconds'] * 1e6:9.1f} {row['bytes_per_second'] / 1e12:6.2f} "
        f"{row['flops_per_second'] / 1e12:8.0f} {row['share_of_ceiling']:6.0%}"
    )


if __name__ == "__main__":
    sys.exit(main())
