"""Every served kernel through the compiler, for GPUs that need not be there.

Compiled for Hopper, each kernel takes exactly what resources.json beside this file says, by Triton's
version: a change of registers or shared memory is seen when it is made. Run as a program, this file writes
the table anew for the Triton that runs it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import triton

HERE = Path(__file__)
TABLE = HERE.with_name("resources.json")
KERNELS = HERE.parents[3] / "kernels"
TRITON = ".".join(triton.__version__.split(".")[:2])
MATRIX_KERNELS = {"qkv_norm_rope", "attention", "linear", "gate_up_geglu"}
FEW_ROWS = {"linear_at_once", "gate_up_geglu_at_once"}
OTHER_KERNELS = {"embed_norm", "norm_residual_norm", "sum_tiles", "mean", "dense", "normalize"}
# By compute capability: tiles of few rows are for Hopper, see gpu/tiles.py.
OF_SMALL_BATCHES = {90: FEW_ROWS | {"norm_rope"}, 100: {"norm_rope"}}
# Shared memory of one program, by compute capability: H100, A100, L4 and RTX 4090, RTX 5090, B200.
SHARED_MEMORY = {90: 232448, 80: 166912, 89: 101376, 120: 101376, 100: 232448}

Found = dict[str, dict[str, Any]]


def compile_for(capability: int, cache: Path, *options: str) -> tuple[Found, str]:
    """What the compiler tells, and what the program complains of; in a process of its own, since it can
    run no kernel afterwards and the interpreter compiles nothing."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"},
        "TRITON_CACHE_DIR": str(cache),
        "PYTHONPATH": str(KERNELS),
        "PYTHONWARNINGS": "ignore",
    }
    command = ["-m", "gemwire_kernels.gpu.offline", "--json", "--capability", str(capability)]
    limit = ["--shared-memory", str(SHARED_MEMORY[capability])]
    done = subprocess.run(
        [sys.executable, *command, *limit, *options],
        env=environment, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.stdout, done.stderr
    assert done.returncode == (1 if done.stderr else 0), done.stderr
    found: Found = json.loads(done.stdout)
    return found, done.stderr


def as_rows(found: Found) -> dict[str, str]:
    """One line a kernel, for a file whose changes are read."""
    return {
        name: f"{r['registers']} registers, {r['shared']} bytes shared, {r['matrix']}"
        for name, r in found.items()
    }


@pytest.mark.parametrize("capability", SHARED_MEMORY)
def test_every_kernel_compiles_and_fits(capability: int, tmp_path: Path) -> None:
    """Up to Hopper, which the tiles are for, nothing may spill; on newer ones that costs time alone."""
    found, complaints = compile_for(capability, tmp_path)
    wrong = complaints.splitlines()
    assert [line for line in wrong if capability <= 90 or " spills " not in line] == []
    kernels = {name.split()[0] for name in found}
    assert kernels == MATRIX_KERNELS | OTHER_KERNELS | OF_SMALL_BATCHES.get(capability, set())
    for name, resources in found.items():
        assert resources["shared"] <= SHARED_MEMORY[capability], name
        matrix = name.split()[0] in MATRIX_KERNELS | FEW_ROWS
        if capability <= 90:
            assert resources["spilled"] == 0, name
        if name.split()[0] in MATRIX_KERNELS and capability == 90:
            assert resources["matrix"] == "wgmma", name
            assert resources["waits"] > 0, "it is not seen when a kernel waits too often"
        elif matrix:
            assert resources["matrix"] != "-", f"{name} multiplies without tensor cores"
    if capability == 90:
        check_table(as_rows(found))


def check_table(rows: dict[str, str]) -> None:
    known = json.loads(TABLE.read_text())
    if TRITON in known:
        assert rows == known[TRITON], "if this is meant, write the table: see the top of this file"


def test_float32_compiles_too(tmp_path: Path) -> None:
    """For exactness, not for speed: it may spill and has no matrix instruction, but it must fit."""
    found, complaints = compile_for(90, tmp_path, "--dtype", "float32")
    assert complaints == ""
    assert all(resources["shared"] <= SHARED_MEMORY[89] for resources in found.values())


def test_launched_while_the_one_before_ends_they_still_fit(tmp_path: Path) -> None:
    """The program complains of a spill, of too much shared memory, of a product without wgmma."""
    assert compile_for(90, tmp_path, "--chained")[1] == ""


def write_table(cache: Path) -> None:
    found, complaints = compile_for(90, cache)
    if complaints:
        sys.exit(complaints)
    known = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    known[TRITON] = as_rows(found)
    TABLE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        write_table(Path(directory))
