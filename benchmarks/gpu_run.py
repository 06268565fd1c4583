"""Runs everything that needs a GPU, unattended, in one call of at most six minutes: `make gpu`.

The parts run in the order of their worth. Each has a share of the time, and writes its own file when
it ends. A part that fails or hangs does not stop the next.

    a machine    the card, the driver, the versions
    b checks     the engine's own check, critical tests, `gemwire verify`
    c engine     throughput, one query, one step, options
    d kernels    each kernel beside the card's ceilings
    e mixed      rivals, on texts of mixed lengths
    f tune       tile sizes of the three dearest operations
    g served     gRPC: latency and throughput with 1, 2, 4 and 8 fronts
    h cpu        with --only: threads of the CPU engine, calls a second of fronts; needs no GPU
    i sanitizer  with --only: every kernel under compute-sanitizer
    j tests      with --only: all tests of kernels and runner
    k choices    with --only: tiles and launches of small batches, the head, clocks under load

    python benchmarks/gpu_run.py [--only d,f] [--seconds 340] [--output DIR] [--tile-table FILE]
        [--packages DIR] [--tokenizer FILE] [--revision REVISION] [--dry-run]

--only takes parts by letter or name, which then have all the time. --dry-run needs no GPU: the same parts
run on a small model in Triton's interpreter, and nothing is measured. Prints last the goals and what came
of the predictions in KERNELS.md, from all files of this card in the folder. Exits with 1 if a check failed,
or if there is no GPU.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from environment import full_checkpoint
from gpu_goals import tables
from limited import Outcome, run
from measure import keep
from uninstalled import ROOT

SECONDS = 340.0  # for everything; Python and PyTorch start before it counts
SPARE_SECONDS = 6.0  # a part gets so much less time than its limit
LEAST_SECONDS = 4.0  # that a part must have to begin
OFFLINE = {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
DRY_RUN = (
    "no GPU: Triton's interpreter and a small model; nothing in this file was measured on a card"
)


@dataclass(frozen=True, slots=True)
class Part:
    """Describes a part. `share` is its number of seconds in a run of `SECONDS`.

    An optional part runs only when `--only` names it. The failure of a check fails the run.
    """

    letter: str
    name: str
    share: float
    script: str
    options: tuple[str, ...] = ()
    check: bool = False
    optional: bool = False
    needs_gpu: bool = True


PARTS = (
    Part("a", "machine", 15, "gpu_machine.py"),
    Part("b", "checks", 80, "gpu_checks.py", check=True),
    Part("c", "engine", 60, "gpu_engine.py"),
    Part("d", "kernels", 40, "gpu_kernels.py"),
    Part("e", "mixed", 55, "gpu_mixed.py"),
    Part("f", "tune", 40, "gpu_tune.py"),
    Part("g", "served", 50, "gpu_served.py"),
    Part("h", "cpu", 300, "cpu_scaling.py", optional=True, needs_gpu=False),
    Part("i", "sanitizer", 150, "gpu_checks.py", ("--set", "sanitizer"), check=True, optional=True),
    Part("j", "tests", 250, "gpu_checks.py", ("--set", "tests"), check=True, optional=True),
    Part("k", "choices", 40, "gpu_choices.py", optional=True),
)


def chosen(words: str | None) -> list[Part]:
    """Returns the parts of these letters or names, which commas divide, or all that are not optional.

    Raises argparse.ArgumentTypeError for a part that there is not.
    """
    if words is None:
        return [part for part in PARTS if not part.optional]
    names = {word.strip() for word in words.split(",")}
    found = [part for part in PARTS if names & {part.letter, part.name}]
    if unknown := names - {word for part in found for word in (part.letter, part.name)}:
        raise argparse.ArgumentTypeError(f"there is no part {', '.join(sorted(unknown))}")
    return found


@dataclass(frozen=True)
class Run:
    """Knows the files of one card and the options of a call, and runs its parts."""

    folder: Path
    prefix: str
    dry_run: bool
    tile_table: Path | None
    environ: dict[str, str]

    def path(self, name: str) -> Path:
        return self.folder / f"{self.prefix}-{name}.json"

    def command(self, part: Part, limit: float, figures: Path, model: Path | None) -> list[str]:
        seconds = str(max(1, int(limit - SPARE_SECONDS)))
        command = [sys.executable, f"benchmarks/{part.script}", *part.options]
        command += ["--seconds", seconds, "--output", str(figures)]
        if model:
            command += ["--model", str(model)]
        if self.tile_table:
            command += ["--tile-table", str(self.tile_table)]
        if part.name == "tune":
            command += ["--tiles", str(self.path("tiles")), "--kernels", str(self.path("kernels"))]
        return command + ["--dry-run"] * self.dry_run

    def carry_out(self, part: Part, limit: float, model: Path | None) -> Outcome:
        """Runs a part within its limit, and writes its file."""
        if limit < SPARE_SECONDS + LEAST_SECONDS:
            outcome, figures = Outcome("not run", 0.0, "no time was left"), None
        else:
            with TemporaryDirectory() as temporary:
                wrote = Path(temporary) / "figures"
                command = self.command(part, limit, wrote, model)
                outcome = run(command, limit, Path(temporary) / "log", self.environ)
                figures = json.loads(wrote.read_text()) if wrote.exists() else None
        document = {
            "part": part.name,
            **({"dry_run": DRY_RUN} if self.dry_run else {}),
            "verdict": outcome.verdict,
            "seconds": round(outcome.seconds, 1),
            "limit": round(limit, 1),
            "said": outcome.said,
            "result": figures,
            "output": [line[:300] for line in outcome.output.splitlines()[-200:]],
        }
        if outcome.verdict != "not run" or not self.path(part.name).exists():
            keep(document, self.path(part.name))
        return outcome


def main() -> int:
    args = arguments()
    started = time.monotonic()
    if args.revision:
        os.environ["SOURCE_REVISION"] = args.revision
    prefix = name_of_card(args)
    if prefix is None:
        print("there is no CUDA device here: nothing was run", file=sys.stderr)
        return 1
    args.output.mkdir(parents=True, exist_ok=True)
    outcomes: list[tuple[Part, Outcome]] = []
    with TemporaryDirectory() as temporary, ThreadPoolExecutor(1) as pool:
        scratch = Path(temporary)
        work = Run(
            args.output.resolve(),
            prefix,
            args.dry_run,
            args.tile_table and args.tile_table.resolve(),
            environ(args, scratch),
        )
        # Some seconds, beside the first part.
        made = pool.submit(checkpoint, args, scratch)
        for number, part in enumerate(args.only):
            model = None if part.name == "machine" else path_of(made)
            left = args.seconds - (time.monotonic() - started)
            share = part.share / sum(one.share for one in args.only[number:])
            print(f"\n== {part.letter} {part.name}, up to {left * share:.0f} s", flush=True)
            outcome = work.carry_out(part, left * share, model)
            outcomes.append((part, outcome))
            print(excerpt(outcome), flush=True)
    print(f"\n{'DRY RUN: ' + DRY_RUN if args.dry_run else prefix}")
    for part, outcome in outcomes:
        head = f"{part.letter} {part.name:10} {outcome.verdict:9} {outcome.seconds:6.1f} s"
        print(f"{head}  {outcome.said[:100]}".rstrip())
    print(tables(work.folder, prefix))
    bad = [part for part, outcome in outcomes if part.check and outcome.verdict != "passed"]
    return 1 if bad else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", type=chosen, default=chosen(None), help="run these parts, such as d,f"
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="time limit of all parts (default: 340)"
    )
    parser.add_argument(
        "--output", type=Path, help="the folder to write to; default: benchmarks/results"
    )
    parser.add_argument("--tile-table", type=Path, help="use the tile sizes that part f wrote")
    parser.add_argument(
        "--packages", type=Path, help="a folder of wheels that this machine lacks and cannot fetch"
    )
    parser.add_argument("--tokenizer", type=Path, help="Gemma 3's SentencePiece model")
    parser.add_argument("--revision", help="the commit of the code, where there is no git")
    parser.add_argument(
        "--dry-run", action="store_true", help="run without a GPU; measures nothing"
    )
    args = parser.parse_args()
    if args.output is None:
        results = ROOT / "benchmarks" / "results"
        args.output = ROOT / ".cache" / "gpu-dry-run" if args.dry_run else results
    return args


def name_of_card(args: argparse.Namespace) -> str | None:
    """Returns the beginning of the files' names, or None if a part needs a GPU and there is none."""
    if args.dry_run:
        return "dry-run"
    if not any(part.needs_gpu for part in args.only):
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_properties(0).name.lower()
    return f"gpu-{re.sub(r'[^a-z0-9]+', '-', name).strip('-')}"


def environ(args: argparse.Namespace, scratch: Path) -> dict[str, str]:
    """Unpacks the packages. Returns variables for every part, in a dry run with the stand-ins for CUDA."""
    first: list[str] = []
    found = dict(OFFLINE)
    if args.packages:
        wheels = sorted(map(str, args.packages.glob("*.whl")))
        target = scratch / "packages"
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        subprocess.run(
            [*install, "--no-compile", "--target", str(target), *wheels], check=True, timeout=120
        )
        first.append(str(target))
    if args.tokenizer:
        os.environ["GEMMA_TOKENIZER"] = str(args.tokenizer.resolve())
    if args.dry_run:
        stand_in = ROOT / "benchmarks" / "dry_run"
        first += [str(stand_in), str(ROOT / "benchmarks")]
        found |= {
            "TRITON_INTERPRET": "1",
            "PATH": os.pathsep.join([str(stand_in / "bin"), os.environ["PATH"]]),
            "PYTHONWARNINGS": "ignore",  # of numbers in memory that nothing wrote
        }
    return found | {"PYTHONPATH": os.pathsep.join([*first, os.environ.get("PYTHONPATH", "")])}


def checkpoint(args: argparse.Namespace, scratch: Path) -> Path:
    if args.dry_run:
        from dry_run.checkpoint import make

        return make(scratch / "checkpoint")
    return full_checkpoint()


def path_of(made: "Future[Path]") -> Path | None:
    """Returns the checkpoint, or None if making it failed: each part then tries again and says why."""
    error = made.exception()
    return None if error else made.result()


def excerpt(outcome: Outcome) -> str:
    """Returns a part's table, or the lines at which the part failed."""
    lines: Sequence[str] = outcome.output.splitlines()
    if outcome.verdict == "passed":
        lines = [line for line in lines if not line.startswith("{")]
    return "\n".join(line[:160] for line in lines[-60:])


if __name__ == "__main__":
    sys.exit(main())
