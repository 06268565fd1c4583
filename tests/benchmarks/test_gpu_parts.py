"""Tests what a dry run does not reach: the full sizes of the parts, and what a part does on a failure."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("triton")

from gemwire_kernels.gpu.workbench import EMBEDDINGGEMMA
from gemwire_server.runners.cuda import BUCKETS
from gpu_checks import KERNELS, RUNNERS, checks
from gpu_kernels import TOKENS
from gpu_load import served
from gpu_served import loads
from gpu_tune import PARTS
from operations import Operations
from uninstalled import ROOT, environment


def test_full_sizes_are_those_of_the_goals() -> None:
    what = served(Namespace(dry_run=False, tile_table=None))
    assert what.lengths == (128, 512, 2048) and what.query == 16
    assert set(what.budgets) <= set(BUCKETS)
    assert what.config(max_batch_tokens=5632).device == "cuda"
    for lengths in what.mixes.values():
        assert len(lengths) >= 1024 and min(lengths) >= 8 and max(lengths) <= 600
    assert all(1 <= length <= 2048 for length in what.alone)


@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_full_loads_are_flags_of_gemwire_bench(kind: str) -> None:
    flags: tuple[str, ...] = getattr(loads(False), kind)
    done = subprocess.run(
        [sys.executable, "-m", "gemwire_server", "bench", "--server", "127.0.0.1:1", *flags],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    # 2 is a wrong argument; no server listens at port 1.
    assert done.returncode == 1, done.stderr
    assert loads(False).fronts == (1, 8, 4, 2)


def test_full_checks_name_folders_and_programs_that_exist(tmp_path: Path) -> None:
    for kind in ("first", "sanitizer", "tests"):
        for check in checks(kind, Path("model"), tmp_path, dry_run=False):
            assert "--dry-run" not in check.command
            for word in check.command:
                if word.startswith(("tests/", "benchmarks/")):
                    assert (ROOT / word.partition("::")[0]).exists()
    commands = [check.command for check in checks("tests", Path("model"), tmp_path, False)]
    assert [command[-1] for command in commands] == [KERNELS, RUNNERS]


def test_the_kernels_of_the_full_sizes_have_the_names_that_tuning_reads() -> None:
    bench: Any = SimpleNamespace(sizes=EMBEDDINGGEMMA)
    nothing: Any = None
    names = {case.name for case in Operations(bench, nothing, nothing, nothing).cases(TOKENS[0])}
    assert {"attention full 2048", "attention window mix", "attention window 16"} <= names
    assert {part for parts in PARTS.values() for part in parts} <= names


FAILURES = """
import sys
from argparse import Namespace
from functools import partial
import torch
import gpu_engine, gpu_kernels, gpu_served
from gemwire_server.errors import DeviceError
from gemwire_kernels.gpu.workbench import Workbench
from operations import Case

model, folder = sys.argv[1:]

def fails(*arguments, **options):
    raise DeviceError("no room\\nand more")

def call(part, *options):
    sys.argv = [part.__name__, "--dry-run", "--model", model, *options]
    return part.main()

# A variant that cannot be loaded is said, and without any engine the part fails.
gpu_engine.load = fails
assert call(gpu_engine, "--output", f"{folder}/engine") == 1

# A contender that is wrong or raises has a row that says so; the others are timed.
ones = torch.ones(4, 4)
def raises():
    raise ValueError("no such operation")
case = Case(name="one", tokens=4, bytes=64, flops=64, compile=False,
    make=lambda: ({"gemwire": partial(lambda: 2 * ones), "torch": partial(ones.clone),
                   "cublas": partial(raises)}, lambda: (ones.double(),)))
bench = Workbench(gpu_kernels.DRY_SIZES, torch.bfloat16, torch.device("cuda:0"))
top = {"bytes_per_second": 1e9, "flops_per_second": 1e9}
rows = {row["contender"]: row for row in gpu_kernels.measure(case, bench, top, quick=False)}
assert rows["gemwire"]["failed"].startswith("wrong: relative error 1.0e+00"), rows
assert rows["cublas"]["failed"] == "ValueError: no such operation" and rows["torch"]["seconds"] > 0
for row in rows.values():
    gpu_kernels.show(row)

# A fault ends the table with exit code 1; without time everything is skipped.
gpu_kernels.measure = lambda *arguments, **options: raises_fault()
def raises_fault():
    raise RuntimeError("CUDA error: an illegal memory access")
assert call(gpu_kernels, "--output", f"{folder}/fault") == 1
assert call(gpu_kernels, "--seconds", "0", "--only", "head", "--output", f"{folder}/late") == 0

# A server that does not start, and a load that fails.
gpu_served.server_process = lambda *arguments: Server(arguments[-1])
class Server:
    address = "127.0.0.1:1"
    def __init__(self, fronts): self.fronts = fronts
    def __enter__(self):
        if self.fronts == "1":
            raise SystemExit("the server did not start")
        return self
    def __exit__(self, *error): pass
assert call(gpu_served, "--output", f"{folder}/served", "--tile-table", "tiles") == 1
assert call(gpu_served, "--seconds", "0", "--output", f"{folder}/no-time") == 1
"""


def test_what_fails_is_said_and_the_rest_goes_on(tmp_path: Path, tiny_checkpoint: Path) -> None:
    environ = environment({"TRITON_INTERPRET": "1"})
    first = [str(ROOT / "benchmarks" / "dry_run"), str(ROOT / "tests")]
    environ["PYTHONPATH"] = os.pathsep.join([*first, environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", FAILURES, str(tiny_checkpoint), str(tmp_path)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert len(found["engine"]["not_run"]) == 6
    assert set(found["engine"]["not_run"].values()) == {"DeviceError: no room"}
    fault = found["fault"]
    assert len(fault["rows"]) == 1 and "illegal memory access" in fault["rows"][0]["failed"]
    assert len(fault["skipped"]) > 10 and len(found["late"]["skipped"]) == 2
    assert found["served"]["not_run"]["1 fronts"] == "the server did not start"
    assert "exit code" in found["served"]["not_run"]["unary, 2 fronts"]
    assert found["no-time"]["not_run"]["stream, 2 fronts"] == "no time was left"
