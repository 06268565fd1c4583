"""Everything that needs a GPU, unattended and in under nine minutes; `make gpu` runs it.

First the checks, side by side: kernel tests, runner tests, compute-sanitizer, and verification against
sentence-transformers. Then the benchmarks, alone on the machine, in the time that is left. Each step has a
limit, and one that fails does not stop the others. Where there is time for several runs, each can have
all of it: --only checks, --only benchmarks, and --only tune, which measures tile sizes first and gives them
to the benchmarks.

    python benchmarks/gpu_run.py [--only checks|benchmarks|tune] [--output DIR] [--revision REVISION]

Prints a short table last, and writes DIR/gpu-CARD.json (of a part: gpu-CARD-PART.json) after every step,
and beside it what the steps printed, .log. Exits with 1 if a check failed or there is no GPU. Needs only
PyTorch, Triton, transformers, sentence-transformers, safetensors, tokenizers, sentencepiece, protobuf,
huggingface_hub and pytest; no network.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from environment import ROOT, environment, full_checkpoint

SECONDS = 520.0  # for everything
CHECK_SECONDS = 240.0  # for the checks, of these
SPARE_SECONDS = 15.0  # a benchmark is told to end so long before its limit
GRACE_SECONDS = 8.0  # for a step over its limit to say how far it came
OFFLINE = {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
SMI = "name,driver_version,memory.total,clocks.sm,clocks.mem,clocks.max.sm,power.limit,temperature.gpu"


@dataclass(frozen=True)
class Step:
    """`share` is of the time left when it begins, up to `limit` seconds. A benchmark is told how long it
    has, and keeps its figures in a file. `advice`: a check whose failure does not fail the run."""

    name: str
    command: list[str]
    limit: float = CHECK_SECONDS
    share: float = 1.0
    check: bool = True
    advice: bool = False
    environ: dict[str, str] = field(default_factory=dict)
    figures: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """`verdict` is passed, failed, timed out or not run; `said` is the step's own summary."""

    step: Step
    verdict: str
    seconds: float
    said: str
    output: str = ""

    @property
    def bad(self) -> bool:
        must = self.step.check and not self.step.advice
        return must and self.verdict in ("failed", "timed out")


def check_steps(checkpoint: Path, seconds: float) -> list[Step]:
    """Side by side, none longer than `seconds`."""
    python = sys.executable
    pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5"]
    pytest += ["-o", "faulthandler_timeout=90"]  # where a test hangs
    # Most of the tests' time is compiling; a file's tests share a runner.
    many, some = (
        (["-n", "4"], ["-n", "2", "--dist", "loadfile"]) if find_spec("xdist") else ([], [])
    )
    sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    sanitize = [sanitizer, "--error-exitcode", "97"]
    sanitize += ["--target-processes", "application-only", "--tool"]  # not the compilers it starts
    small = [python, "tests/gpu/sanitize.py"]
    uncached = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    verify = [python, "-m", "gemwire_server", "verify", "--device", "cuda", "--model"]
    return [
        Step("kernel tests", [*pytest, *many, "tests/kernels/gpu"], seconds),
        Step("runner tests", [*pytest, *some, "tests/gpu"], seconds),
        Step("memcheck", [*sanitize, "memcheck", *small], seconds, environ=uncached),
        # Before its 2025.4 it does not see what the copy engine writes, and calls it uninitialized.
        Step(
            "initcheck",
            [*sanitize, "initcheck", *small, "--exact"],
            seconds,
            advice=True,
            environ=uncached,
        ),
        Step("verify", [*verify, str(checkpoint)], seconds),
    ]


def benchmark_steps(folder: Path, tile_table: Path | None) -> list[Step]:
    """One after the other; `folder` is for their figures."""
    tiles = [] if tile_table is None else ["--tile-table", str(tile_table)]
    return [
        Step(
            f"benchmark {name}",
            [sys.executable, f"benchmarks/{name}.py", "--output", str(folder / name), *tiles],
            limit=SECONDS,
            share=share,
            check=False,
            figures=folder / name,
        )
        for name, share in (
            ("gpu_engine", 0.35),
            ("gpu_mixed", 0.55),
            ("gpu_kernels", 1.0),
        )
    ]


def tune_step(tile_table: Path) -> Step:
    """Before the benchmarks, which then take what it wrote."""
    command = [sys.executable, "-m", "gemwire_server", "tune", "--output", str(tile_table)]
    return Step("tune", command, limit=SECONDS, share=0.4, check=False)


def run_step(step: Step, left: float, log: Path) -> Outcome:
    """Runs a step within its limit and the time left, and kills what it leaves."""
    program = next(word for word in step.command if word != sys.executable)
    if shutil.which(step.command[0]) is None or (
        program.endswith(".py") and not (ROOT / program).exists()
    ):
        return Outcome(step, "not run", 0.0, f"there is no {Path(program).name}")
    limit = min(step.limit, step.share * left)
    if limit < SPARE_SECONDS:
        return Outcome(step, "not run", 0.0, "no time was left")
    command = step.command
    if not step.check:
        command = [*command, "--seconds", str(int(limit - SPARE_SECONDS))]
    started = time.monotonic()
    with log.open("w+") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **OFFLINE, **step.environ},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code: int | None = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(limit)
            if code is None:
                os.killpg(process.pid, signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_SECONDS)
        finally:
            _kill_group(process)
    output = log.read_text("utf-8", "replace")
    verdict, said = judge(output, code)
    return Outcome(step, verdict, time.monotonic() - started, said, output)


def judge(output: str, code: int | None) -> tuple[str, str]:
    """The verdict on a step's output and exit code, and the line that says most."""
    lines = [line.strip("= \n") for line in output.splitlines() if line.strip("= \n")]
    said = lines[-1] if lines else "it printed nothing"
    if summaries := re.findall(r"ERROR SUMMARY: .*", output):
        said = summaries[-1]
        if "Device not supported" in output and code:
            return "not run", "the sanitizer does not support this device"
    if code is None:
        return "timed out", said
    if said.startswith("{"):
        said = ""  # the figures are printed as a table before
    # A run of tests that were all skipped has exit code 0.
    skipped = re.fullmatch(r"\d+ skipped.* in .*s", said)
    return ("passed" if code == 0 and not skipped else "failed"), said


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def figures(path: Path | None) -> Any:
    """What a benchmark kept of its figures, also one that was ended; None if it has none."""
    try:
        return None if path is None else json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return None


def gpu_facts() -> dict[str, Any]:
    """The card as it is found; nothing is set."""
    properties = torch.cuda.get_device_properties(0)
    facts: dict[str, Any] = {
        "gpu": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
    }
    if shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", f"--query-gpu={SMI}", "--format=csv,noheader", "--id=0"]
        try:
            said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30)
            values = said.stdout.strip().split(", ")
            facts |= dict(zip(SMI.split(","), values, strict=True))
        except (subprocess.SubprocessError, ValueError) as error:
            facts["nvidia-smi"] = type(error).__name__
    return facts


def report(facts: dict[str, Any], outcomes: list[Outcome]) -> str:
    versions = facts["versions"]
    lines = [
        f"{facts['gpu']}, driver {facts.get('driver_version', '?')}, torch {versions['torch']}, "
        f"triton {versions['triton']}, revision {facts['revision'] or '?'}",
    ]
    for outcome in outcomes:
        head = f"{outcome.step.name:18} {outcome.verdict:9} {outcome.seconds:6.1f} s"
        lines.append(f"{head}  {outcome.said[:100]}".rstrip())
    return "\n".join(lines)


def excerpt(outcome: Outcome) -> str:
    """What is worth reading of a step: a benchmark's table, or where a check failed."""
    lines = outcome.output.splitlines()
    if not outcome.step.check and outcome.verdict == "passed":
        lines = lines[:-1]
    elif outcome.verdict == "passed":
        return ""
    return "\n".join([f"--- {outcome.step.name}", *(line[:160] for line in lines[-40:])])


def save(path: Path, facts: dict[str, Any], outcomes: list[Outcome]) -> None:
    steps = {
        o.step.name: {"verdict": o.verdict, "seconds": round(o.seconds, 1), "said": o.said}
        for o in outcomes
    }
    found = {o.step.name: figures(o.step.figures) for o in outcomes if o.step.figures}
    document = {"benchmark": "gpu", "steps": steps, **found, "environment": facts}
    path.write_text(json.dumps(document) + "\n")
    log = "\n".join(f"##### {o.step.name}: {o.verdict}\n{o.output}" for o in outcomes)
    path.with_suffix(".log").write_text(log)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--only", choices=("checks", "benchmarks", "tune"), help="a part of it")
    parser.add_argument("--revision", help="of the code, where there is no git to ask")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no CUDA device here: nothing was run", file=sys.stderr)
        return 1
    end = time.monotonic() + SECONDS
    if args.revision:
        os.environ["SOURCE_REVISION"] = args.revision
    facts = environment() | gpu_facts()
    card = re.sub(r"[^a-z0-9]+", "-", facts["gpu"].lower()).strip("-")
    args.output.mkdir(parents=True, exist_ok=True)
    output = args.output.resolve()
    path = output / f"gpu-{card}{'-' + args.only if args.only else ''}.json"
    started = time.monotonic()
    checkpoint = full_checkpoint()
    made = time.monotonic() - started
    outcomes = [Outcome(Step("checkpoint", []), "passed", made, checkpoint.name)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def run(step: Step) -> Outcome:
            outcome = run_step(step, end - time.monotonic(), folder / f"{step.name}.log")
            print(f"{step.name}: {outcome.verdict}", file=sys.stderr, flush=True)
            return outcome

        if args.only in (None, "checks"):
            checks = check_steps(checkpoint, CHECK_SECONDS if args.only is None else SECONDS)
            with ThreadPoolExecutor(len(checks)) as pool:
                outcomes += pool.map(run, checks)
            save(path, facts, outcomes)
        tile_table = output / f"tiles-{card}.json"
        if args.only == "tune":
            outcomes.append(run(tune_step(tile_table)))
            save(path, facts, outcomes)
        measured = args.only == "tune" and outcomes[-1].verdict == "passed"
        tuned = tile_table if measured else None
        for step in () if args.only == "checks" else benchmark_steps(folder, tuned):
            outcomes.append(run(step))
            save(path, facts, outcomes)
    print("\n".join(filter(None, map(excerpt, outcomes))))
    print(f"\n{report(facts, outcomes)}\n{path}")
    return 1 if any(outcome.bad for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
