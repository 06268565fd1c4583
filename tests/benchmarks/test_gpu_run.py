"""The parts of `make gpu`: chosen, limited, each with its own file; and a dry run of every part."""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import gpu_run
from gpu_checks import FIRST_ROWS
from gpu_choices import SMALL_TILES
from gpu_run import DRY_RUN, PARTS, SECONDS, Part, chosen
from uninstalled import ROOT, environment

SCRIPT = str(ROOT / "benchmarks" / "gpu_run.py")
EVERYTHING = ",".join(part.letter for part in PARTS)


def call(*arguments: str, seconds: float = 120) -> "subprocess.CompletedProcess[str]":
    environ = environment({"CUDA_VISIBLE_DEVICES": ""})
    environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), environ["PYTHONPATH"]])
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def test_without_a_gpu_it_says_so_and_ends(tmp_path: Path) -> None:
    done = call("--output", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr == "there is no CUDA device here: nothing was run\n"
    assert not (tmp_path / "out").exists()


def test_help_lists_every_part() -> None:
    lines = call("--help").stdout.splitlines()
    for part in PARTS:
        assert any(line.split()[:2] == [part.letter, part.name] for line in lines)


def test_parts_are_chosen_by_letter_or_name_and_fit_in_six_minutes() -> None:
    default = chosen(None)
    assert [part.letter for part in default] == list("abcdefg")
    assert sum(part.share for part in default) <= SECONDS <= 360
    assert next(part for part in default if part.name == "checks").share <= 90
    assert [part.name for part in chosen("f,kernels")] == ["kernels", "tune"]
    assert [part.name for part in chosen(EVERYTHING)] == [part.name for part in PARTS]
    with pytest.raises(argparse.ArgumentTypeError, match="no part q, x"):
        chosen("a,x,q")
    for part in PARTS:
        assert (ROOT / "benchmarks" / part.script).exists()


@pytest.fixture
def small_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts four parts in place of the real ones: one writes figures and hangs, one fails, two pass."""

    def script(name: str, code: str) -> str:
        path = tmp_path / f"{name}.py"
        path.write_text(f"import json, sys, time\nargs = sys.argv[1:]\n{code}\n")
        return os.path.relpath(path, ROOT / "benchmarks")

    wrote = "open(args[args.index('--output') + 1], 'w').write(json.dumps({'args': args}))"
    parts = (
        Part("a", "machine", 10, script("one", f"{wrote}; print('well')")),
        Part("b", "hangs", 10, script("two", f"{wrote}; time.sleep(600)"), check=True),
        Part("c", "fails", 10, script("three", "sys.exit('no such kernel')")),
        Part("d", "good", 10, script("four", wrote)),
    )
    monkeypatch.setattr(gpu_run, "PARTS", parts)
    monkeypatch.setattr(gpu_run, "checkpoint", lambda args, scratch: scratch)
    return tmp_path / "out"


def run_small(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(
        sys, "argv", ["gpu_run.py", "--dry-run", "--output", str(folder), *arguments]
    )
    return gpu_run.main()


def read(folder: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / f"dry-run-{name}.json").read_text())
    return document


def test_a_part_that_hangs_or_fails_stops_no_other_and_the_rest_has_its_time(
    small_parts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_small(small_parts, monkeypatch, "--seconds", "80") == 1  # a check timed out
    machine, hangs, fails, good = (
        read(small_parts, name) for name in ("machine", "hangs", "fails", "good")
    )
    assert [part["verdict"] for part in (machine, hangs, fails, good)] == [
        "passed", "timed out", "failed", "passed",
    ]  # fmt: skip
    assert machine["said"] == "well" and "--model" not in machine["result"]["args"]
    assert fails["said"] == "no such kernel" and fails["result"] is None
    # The part gets less time than its limit. Its figures from before the kill are kept.
    told = hangs["result"]["args"]
    assert int(told[told.index("--seconds") + 1]) < hangs["limit"] <= hangs["seconds"]
    assert good["limit"] > machine["limit"]  # of what the others left
    assert all(part["dry_run"] == DRY_RUN for part in (machine, hangs, fails, good))
    assert "b hangs      timed out" in capsys.readouterr().out


def test_only_goes_on_where_a_call_before_ended(
    small_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_small(small_parts, monkeypatch, "--only", "a,good") == 0
    before = {path.name: path.stat().st_mtime_ns for path in small_parts.iterdir()}
    assert before.keys() == {"dry-run-machine.json", "dry-run-good.json"}
    assert run_small(small_parts, monkeypatch, "--only", "fails") == 0  # no check
    after = {path.name: path.stat().st_mtime_ns for path in small_parts.iterdir()}
    assert (
        after.keys() - before.keys() == {"dry-run-fails.json"} and after.items() >= before.items()
    )


def test_a_part_without_time_is_not_run_and_loses_no_file(
    small_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_small(small_parts, monkeypatch, "--only", "a")
    run_small(small_parts, monkeypatch, "--only", "a,d", "--seconds", "5")
    assert read(small_parts, "machine")["verdict"] == "passed"
    assert read(small_parts, "good")["verdict"] == "not run"


def test_the_rows_that_come_first_are_tests() -> None:
    """A wrong name would cost minutes on a card."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--collect-only",
            "-p",
            "no:cacheprovider",
            *FIRST_ROWS,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    for row in FIRST_ROWS:
        assert row in done.stdout


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Runs every part, the optional ones too, by two calls side by side.

    Gives the folder of the files and what the call with the first parts printed.
    """
    folder = tmp_path_factory.mktemp("gpu")

    def half(letters: str) -> "subprocess.CompletedProcess[str]":
        # So long that no part's share ends it here, however busy the machine is.
        options = ("--dry-run", "--seconds", "5000", "--output", str(folder))
        return call(*options, "--only", ",".join(letters), seconds=590)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(half, ("abcde", "fghijk"))
    for done in (first, second):
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return folder, first.stdout


def test_dry_run_runs_every_part_and_says_that_nothing_was_measured(
    dry_run: tuple[Path, str],
) -> None:
    folder, said = dry_run
    assert {path.name for path in folder.iterdir()} == {
        *(f"dry-run-{part.name}.json" for part in PARTS),
        "dry-run-tiles.json",
    }
    for part in PARTS:
        document = read(folder, part.name)
        assert document["verdict"] == "passed", document["output"][-20:]
        assert document["dry_run"] == DRY_RUN and document["seconds"] <= document["limit"]
    assert said.endswith("DRY RUN: no figure above was measured on a GPU\n")
    for word in (" met", "MISSED"):
        assert word not in said.split("\ngoal ")[1].split("\nprediction ")[0]


def test_dry_run_leaves_nothing_out(dry_run: tuple[Path, str]) -> None:
    """Every contender, rival, option and number of fronts has figures."""
    folder, _ = dry_run
    results = {part.name: read(folder, part.name)["result"] for part in PARTS}
    rows = results["kernels"]["rows"]
    assert [row for row in rows if "failed" in row or "seconds" not in row] == []
    assert {row["contender"] for row in rows} >= {"gemwire", "torch", "cublas", "flex", "varlen"}
    assert results["kernels"]["skipped"] == []
    engines = results["engine"]["engines"]
    assert {label.split(",")[0] for label in engines} == {
        "served", "chained", "unchained", "bf16 residual", "cuBLAS", "no graphs",
    }  # fmt: skip
    for name in ("engine", "mixed", "served", "cpu"):
        assert results[name]["not_run"] == {}, name
    rivals = results["mixed"]["mixes"]["lognormal"]["tokens_per_second"]
    assert {name.split(" ")[0] for name in rivals} == {
        "gemwire", "sentence-transformers", "varlen_attn", "FlexAttention", "torch.compile",
    }  # fmt: skip
    assert all(load.keys() == {"unary", "stream"} for load in results["served"]["fronts"].values())
    for name in ("checks", "sanitizer", "tests"):
        verdicts = {check["verdict"] for check in results[name]["checks"].values()}
        assert verdicts == {"passed"}, name
    choices = results["choices"]
    assert "not_run" not in choices and choices["head"].keys() == {"1 texts", "3 texts"}
    assert len(choices["layers"]) == 2 * len(SMALL_TILES)
    assert all(row["same_bits"] for row in choices["layers"].values())
    tuned = {change["operation"] for change in results["tune"]["changes"]}
    assert tuned == {"linear", "gate_up", "attention"}
