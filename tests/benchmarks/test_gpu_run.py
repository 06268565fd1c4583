"""What `make gpu` is made of: steps with limits, their verdicts, and the report."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from environment import ROOT
from gpu_run import (
    Outcome,
    Step,
    benchmark_steps,
    check_steps,
    figures,
    judge,
    report,
    run_step,
    save,
    tune_step,
)
from measure import keep
from uninstalled import environment


def python(code: str, **options: Any) -> Step:
    return Step("one", [sys.executable, "-c", code], **options)


def run(step: Step, folder: Path, left: float = 500.0) -> Outcome:
    return run_step(step, left, folder / "log")


def test_without_a_gpu_it_says_so_and_ends(tmp_path: Path) -> None:
    script = str(ROOT / "benchmarks" / "gpu_run.py")
    done = subprocess.run(
        [sys.executable, script, "--output", str(tmp_path / "out")],
        env=environment({"CUDA_VISIBLE_DEVICES": ""}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "there is no CUDA device here: nothing was run\n"
    assert not (tmp_path / "out").exists()


def test_a_step_passes_fails_or_is_not_there(tmp_path: Path) -> None:
    good = run(python("print('a'); print('3 passed in 1.00s')"), tmp_path)
    assert (good.verdict, good.said, good.bad) == ("passed", "3 passed in 1.00s", False)
    broken = run(python("import sys; print('why', file=sys.stderr); sys.exit(3)"), tmp_path)
    assert (broken.verdict, broken.said, broken.bad) == ("failed", "why", True)
    for command in (["no-such-program"], [sys.executable, "benchmarks/absent.py"]):
        absent = run(Step("one", command), tmp_path)
        assert (absent.verdict, absent.bad) == ("not run", False)
        assert "there is no " in absent.said
    late = run(python("pass"), tmp_path, left=5.0)
    assert (late.verdict, late.said) == ("not run", "no time was left")


def test_a_step_over_its_limit_ends_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu_run.SPARE_SECONDS", 0.1)
    monkeypatch.setattr("gpu_run.GRACE_SECONDS", 0.1)
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    started = time.monotonic()
    outcome = run(python(code, limit=3.0), tmp_path)
    assert (outcome.verdict, outcome.bad) == ("timed out", True)
    assert time.monotonic() - started < 30
    child = int(outcome.said)
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text():
            return
        time.sleep(0.05)
    os.kill(child, 9)
    pytest.fail("its child was left")


def test_a_step_over_its_limit_says_how_far_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pytest does when it is interrupted; and a failed piece of advice does not fail the run."""
    monkeypatch.setattr("gpu_run.SPARE_SECONDS", 0.1)
    code = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('3 passed so far')"
    outcome = run(python(code, limit=3.0), tmp_path)
    assert (outcome.verdict, outcome.said, outcome.bad) == ("timed out", "3 passed so far", True)
    assert not replace(outcome, step=replace(outcome.step, advice=True)).bad


def test_a_benchmark_is_told_its_time_and_gives_figures(tmp_path: Path) -> None:
    path = tmp_path / "figures"
    code = (
        f"import json, sys; open({str(path)!r}, 'w').write(json.dumps(sys.argv[1:])); print('{{}}')"
    )
    outcome = run(python(code, check=False, share=0.5, limit=400.0), tmp_path, left=300.0)
    assert figures(path) == ["--seconds", "135"]
    assert (outcome.verdict, outcome.said) == ("passed", "")
    slow = replace(outcome, verdict="failed")
    assert not slow.bad  # no check


@pytest.mark.parametrize(
    ("output", "code", "verdict"),
    [
        ("===== 5 skipped in 0.50s =====", 0, "failed"),
        ("5 passed, 2 skipped in 0.50s", 0, "passed"),
        ("5 passed in 0.50s", 1, "failed"),
        ("", 0, "passed"),
        ("========= ERROR SUMMARY: 0 errors", 0, "passed"),
        ("========= ERROR SUMMARY: 3 errors\nmore", 97, "failed"),
        ("Device not supported\n========= ERROR SUMMARY: 1 error", 97, "not run"),
        ("is not supported\n========= ERROR SUMMARY: 7 errors", 97, "failed"),
        ("half", None, "timed out"),
    ],
)
def test_verdicts(output: str, code: int | None, verdict: str) -> None:
    assert judge(output, code)[0] == verdict


def test_every_step_is_there_and_fits() -> None:
    checks, benchmarks = check_steps(Path("model"), 9.0), benchmark_steps(Path("out"), None)
    assert [step.name for step in checks] == [
        "kernel tests", "runner tests", "memcheck", "initcheck", "verify",
    ]  # fmt: skip
    assert all(step.check and step.limit == 9 for step in checks)
    assert not any(step.check for step in [*benchmarks, tune_step(Path("tiles"))])
    for step in benchmarks:
        assert (ROOT / step.command[1]).exists() and str(step.figures) in step.command
    with_tiles = benchmark_steps(Path("out"), Path("tiles"))
    assert [step.command[-1] == "tiles" for step in with_tiles] == [True, True, True]
    for word in ("tests/kernels/gpu", "tests/gpu", "tests/gpu/sanitize.py"):
        assert any(word in step.command for step in checks) and (ROOT / word).exists()


def test_the_report_and_the_file_hold_every_step(tmp_path: Path) -> None:
    facts = {"gpu": "Card", "versions": {"torch": "2", "triton": "3"}, "revision": ""}
    outcomes = [
        Outcome(python("", check=True), "failed", 1.25, "2 failed in 1.0s", "x\n"),
        Outcome(
            replace(python("", check=False), name="two", figures=tmp_path / "two"),
            "timed out", 9.0, "", "table\nand a word of a library's\n",
        ),
    ]  # fmt: skip
    keep({"a": 1}, tmp_path / "two")
    lines = report(facts, outcomes).splitlines()
    assert lines[0].startswith("Card, driver ?") and len(lines) == 3
    assert "failed" in lines[1] and "2 failed" in lines[1]
    save(tmp_path / "gpu.json", facts, outcomes)
    document = json.loads((tmp_path / "gpu.json").read_text())
    assert document["steps"]["one"]["verdict"] == "failed" and document["two"] == {"a": 1}
    assert "##### two: timed out" in (tmp_path / "gpu.log").read_text()
