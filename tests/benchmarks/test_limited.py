"""Tests the verdicts on commands, their last words, and that none of their processes is left."""

import os
import sys
import time
from pathlib import Path

import pytest

import limited
from limited import Outcome, judge, run


def python(code: str, folder: Path, limit: float = 60.0) -> Outcome:
    return run([sys.executable, "-c", code], limit, folder / "log")


def test_a_command_passes_fails_or_is_not_there(tmp_path: Path) -> None:
    good = python("print('a'); print('3 passed in 1.00s')", tmp_path)
    assert (good.verdict, good.said) == ("passed", "3 passed in 1.00s")
    broken = python("import sys; print('why', file=sys.stderr); sys.exit(3)", tmp_path)
    assert (broken.verdict, broken.said) == ("failed", "why")
    for command in (["no-such-program"], [sys.executable, "benchmarks/absent.py"]):
        absent = run(command, 60.0, tmp_path / "log")
        assert absent.verdict == "not run" and "there is no " in absent.said


def test_over_its_limit_it_ends_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limited, "GRACE_SECONDS", 0.1)
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    started = time.monotonic()
    outcome = python(code, tmp_path, limit=10.0)
    assert outcome.verdict == "timed out" and time.monotonic() - started < 60
    child = int(outcome.said)
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text():
            return
        time.sleep(0.05)
    os.kill(child, 9)
    pytest.fail("its child was left")


def test_over_its_limit_it_says_how_far_it_came(tmp_path: Path) -> None:
    """Pytest prints a summary when it is interrupted."""
    code = "import time\ntry:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    print('3 passed so far')"
    outcome = python(code, tmp_path, limit=10.0)
    assert (outcome.verdict, outcome.said) == ("timed out", "3 passed so far")


@pytest.mark.parametrize(
    ("output", "code", "verdict"),
    [
        ("===== 5 skipped in 0.50s =====", 0, "failed"),
        ("5 passed, 2 skipped in 0.50s", 0, "passed"),
        ("5 passed in 0.50s", 1, "failed"),
        ("", 0, "passed"),
        ("========= ERROR SUMMARY: 0 errors", 0, "passed"),
        ("========= ERROR SUMMARY: 3 errors\nmore", 97, "failed"),
        ('{"output": "ERROR SUMMARY: 3 errors"}', 0, "passed"),
        ("Device not supported\n========= ERROR SUMMARY: 1 error", 97, "not run"),
        ("is not supported\n========= ERROR SUMMARY: 7 errors", 97, "failed"),
        ("half", None, "timed out"),
    ],
)
def test_verdicts(output: str, code: int | None, verdict: str) -> None:
    assert judge(output, code)[0] == verdict


def test_what_is_said_is_the_commands_own_summary() -> None:
    lines = "memcheck passed\n========= ERROR SUMMARY: 2 errors\n"
    assert judge(lines, 97)[1] == "ERROR SUMMARY: 2 errors"
    assert judge('{"quoted": "ERROR SUMMARY: 2 errors"}\n', 0)[1] == ""
