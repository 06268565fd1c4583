"""Runs a command within a time limit, and leaves none of its processes behind."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uninstalled import ROOT

# For a command over its limit to say how far it came.
GRACE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Holds a verdict (passed, failed, timed out, not run) and the line of the output that says most."""

    verdict: str
    seconds: float
    said: str
    output: str = ""


def run(
    command: Sequence[str], limit: float, log: Path, environ: Mapping[str, str] | None = None
) -> Outcome:
    """Runs a command in the project's folder for at most `limit` seconds, and some more for its last words.

    Both of its outputs go to `log`. All processes that it started are killed at the end.
    """
    program = next(word for word in command if word != sys.executable)
    if shutil.which(command[0]) is None or (
        program.endswith(".py") and not (ROOT / program).exists()
    ):
        return Outcome("not run", 0.0, f"there is no {Path(program).name}")
    started = time.monotonic()
    with log.open("w+") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code: int | None = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(max(0.0, limit))
            if code is None:
                os.killpg(process.pid, signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_SECONDS)
        finally:
            _kill_group(process)
    output = log.read_text("utf-8", "replace")
    verdict, said = judge(output, code)
    return Outcome(verdict, time.monotonic() - started, said, output)


def judge(output: str, code: int | None) -> tuple[str, str]:
    """Returns the verdict and the line that says most. The exit code None stands for a time-out."""
    lines = [line.strip("= \n") for line in output.splitlines() if line.strip("= \n")]
    said = lines[-1] if lines else "it printed nothing"
    # Not in a line of JSON, which may quote another command's output.
    if summaries := re.findall(r"^[^{\n]*(ERROR SUMMARY: .*)", output, re.MULTILINE):
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
