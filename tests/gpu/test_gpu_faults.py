"""A device without room, and one that fails: one line in the log, an answer, and never a vector."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gpu_engine import chained_table
from support.calling import one_line
from uninstalled import ROOT, environment

Done = subprocess.CompletedProcess[str]


def run_fault(*arguments: object) -> Done:
    environ = environment()
    environ["PYTHONPATH"] += os.pathsep + str(ROOT / "tests")
    return subprocess.run(
        [sys.executable, str(Path(__file__).with_name("faults.py")), *map(str, arguments)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# Nothing fits; the weights fit, and the buckets do not.
@pytest.mark.parametrize("limit", [1_000_000, 640_000_000])
def test_no_room_is_said_in_one_line(limit: int, full_checkpoint: Path) -> None:
    done = run_fault("no-room", full_checkpoint, limit)
    assert done.returncode == 1, done.stderr
    assert "no room for the model" in one_line(done.stderr) and "--device" in done.stderr


def test_no_room_and_auto_serves_on_the_cpu(tiny_checkpoint: Path) -> None:
    done = run_fault("no-room-auto", tiny_checkpoint, 1_000_000)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cpu, ")
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == 1 and "serving on the CPU: cuda:0 has no room" in warnings[0]


def test_chained_launches_change_no_bit(full_checkpoint: Path, tmp_path: Path) -> None:
    """In a process of its own: where they are wrong, they may fault."""
    if torch.cuda.get_device_capability() < (9, 0):
        pytest.skip("only Hopper and newer launch a kernel before the one before has ended")
    tables = [
        chained_table(torch.device("cuda:0"), tmp_path / f"{chained}.json", chained=chained)
        for chained in (False, True)
    ]
    done = run_fault("chained", full_checkpoint, *tables)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def lost(tiny_checkpoint: Path) -> Done:
    """An engine whose device made an illegal access among other work."""
    return run_fault("illegal-access", tiny_checkpoint)


def test_a_fault_fails_what_is_under_way_and_ends_the_engine(lost: Done) -> None:
    assert lost.stdout, lost.stderr
    said: dict[str, Any] = json.loads(lost.stdout)
    assert said["bad"] == "DEVICE_LOST"
    assert said["before"] == ["vector"]
    assert set(said["after"]) <= {"vector", "DEVICE_LOST", "DRAINING"}
    assert said["wrong"] == 0
    assert said["died"] and not said["takes_more"] and not said["runs_on"]


def test_a_process_whose_device_is_lost_ends_as_it_likes(lost: Done) -> None:
    assert lost.returncode == 0, lost.stderr[-2000:]
