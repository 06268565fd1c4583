"""Part b, and the optional parts i and j, check what the card computes.

    python benchmarks/gpu_checks.py [--set first|sanitizer|tests] [--seconds 80] [--output FILE]

`first`, side by side: the engine's own check of every bucket and that bits are stable; the rows of the
tests' matrix that matter most; and `gemwire verify` at the full geometry. `sanitizer`: every kernel under
compute-sanitizer. `tests`: all tests of kernels and runner. Exits with 1 if a check fails.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from card import require_cuda
from environment import environment, full_checkpoint
from limited import Outcome, run
from measure import keep
from part import part_parser

SPARE_SECONDS = 6.0  # in which what is over its limit says its last words
KERNELS, RUNNERS = "tests/kernels/gpu", "tests/gpu"
# Served sizes and windows, the edge of the window, the same bits for a row, the whole encoder. The engine's
# own check shows what tests of the runner would, and loads the model once.
FIRST_ROWS = (
    f"{KERNELS}/test_gpu_attention.py::test_served_tiles",
    f"{KERNELS}/test_gpu_attention.py::test_served_window",
    f"{KERNELS}/test_gpu_attention.py::test_full_batches",
    f"{KERNELS}/test_gpu_attention.py::test_sees_the_edge_of_the_window_and_nothing_beyond",
    f"{KERNELS}/test_gpu_matmul.py::test_served_sizes",
    f"{KERNELS}/test_gpu_matmul.py::test_a_row_has_the_same_bits_wherever_it_is",
    f"{KERNELS}/test_gpu_rows.py::test_pool_of_full_batches",
    f"{KERNELS}/test_gpu_rows.py::test_head_of_each_matryoshka_size",
    f"{KERNELS}/test_gpu_encoder.py::test_as_it_is_served_it_is_no_worse_than_transformers",
)
# A dry run's: that the command runs.
DRY_ROWS = (
    f"{KERNELS}/test_gpu_batch.py::test_a_grid_is_never_empty_and_never_larger_than_the_work",
)
UNCACHED = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}


@dataclass(frozen=True, slots=True)
class Check:
    """Names a command. If it is advice, its failure does not fail the run."""

    name: str
    command: list[str]
    advice: bool = False
    environ: dict[str, str] = field(default_factory=dict)
    figures: Path | None = None


def checks(kind: str, model: Path, folder: Path, dry_run: bool) -> list[Check]:
    """Returns the checks of one set, which write into `folder`."""
    python = sys.executable
    pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5"]
    pytest += ["-o", "faulthandler_timeout=90"]  # where a test hangs
    dry = ["--dry-run"] if dry_run else []
    # Most of the tests' time is compiling. Workers that each take all cores wait for one another.
    workers = max(1, (os.cpu_count() or 1) // 2)
    many = ["-n", str(workers), "--dist", "worksteal"] if find_spec("xdist") else []
    threads = {"OMP_NUM_THREADS": "2"} if many else {}
    if kind == "tests":
        kernels, runners = (DRY_ROWS, DRY_ROWS) if dry_run else ((KERNELS,), (RUNNERS,))
        return [
            Check("kernel tests", [*pytest, *many, *kernels], environ=threads),
            Check("runner tests", [*pytest, *many, *runners], environ=threads),
        ]
    if kind == "sanitizer":
        sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        tool = [sanitizer, "--error-exitcode", "97"]
        tool += ["--target-processes", "application-only", "--tool"]  # not the compilers it starts
        small = [python, "tests/gpu/sanitize.py", *dry]
        return [
            Check("memcheck", [*tool, "memcheck", *small], environ=UNCACHED),
            # Before its 2025.4 it does not see what the copy engine writes, and calls it uninitialized.
            Check("initcheck", [*tool, "initcheck", *small, "--exact"], True, UNCACHED),
        ]
    verify = [python, "-m", "gemwire_server", "verify", "--device", "cuda", "--model", str(model)]
    if dry_run:
        (folder / "texts").write_text("the red planet and its two moons\nMars\nwhat was that\n")
        verify += ["--texts", str(folder / "texts")]
    own = folder / "self-check.json"
    started = [python, "benchmarks/gpu_selfcheck.py", "--model", str(model), "--output", str(own)]
    return [
        Check("self-check", [*started, *dry], figures=own),
        Check(
            "first rows",
            [*pytest, *many, *(DRY_ROWS if dry_run else FIRST_ROWS)],
            environ=threads,
        ),
        Check("verify", verify),
        Check("verify, bf16 residual", [*verify, "--residual", "bf16"], advice=True),
    ]


def main() -> int:
    parser = part_parser(__doc__, seconds=80.0)
    parser.add_argument("--set", choices=("first", "sanitizer", "tests"), default="first")
    args = parser.parse_args()
    require_cuda()
    end = time.monotonic() + args.seconds - SPARE_SECONDS
    model = Path(args.model or full_checkpoint())
    result: dict[str, Any] = {
        "benchmark": f"gpu_checks, {args.set}",
        "environment": environment(),
        "checks": {},
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def carry_out(check: Check) -> bool:
            left = end - time.monotonic()
            outcome = run(check.command, left, folder / f"{check.name}.log", check.environ)
            result["checks"][check.name] = found(check, outcome)
            keep(result, args.output)
            print(shown(check, outcome), flush=True)
            return check.advice or outcome.verdict in ("passed", "not run")

        every = checks(args.set, model, folder, args.dry_run)
        with ThreadPoolExecutor(len(every)) as pool:
            good = all(list(pool.map(carry_out, every)))
    print(json.dumps(result))
    return 0 if good else 1


def found(check: Check, outcome: Outcome) -> dict[str, Any]:
    """Returns a check's entry for the file, with its last lines, and its own figures if it wrote some."""
    entry: dict[str, Any] = {
        "verdict": outcome.verdict,
        "seconds": round(outcome.seconds, 1),
        "said": outcome.said,
        "advice": check.advice,
        "output": outcome.output.splitlines()[-120:],
    }
    if check.figures is not None and check.figures.exists():
        entry["figures"] = json.loads(check.figures.read_text())
    return entry


def shown(check: Check, outcome: Outcome) -> str:
    """Returns a line for people, and the end of the output if the check did not pass."""
    head = f"{check.name:14} {outcome.verdict:9} {outcome.seconds:6.1f} s  {outcome.said[:100]}"
    if outcome.verdict == "passed":
        return head
    return "\n".join([head, *(f"    {line[:160]}" for line in outcome.output.splitlines()[-30:])])


if __name__ == "__main__":
    sys.exit(main())
