"""Runs `gemwire bench` in a process of its own, and reads the figures of its one step."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# 4: the client was late or busy; the figures are kept, and say so.
MEASURED = (0, 4)
START_SECONDS = 2.5  # of a run, before its warm-up: processes, texts and golden vectors
WARM_UP_SECONDS = 0.5


def run(
    *flags: str,
    seconds: float,
    warm_up: float = WARM_UP_SECONDS,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Runs one load with these flags. Returns its one step, as `gemwire bench` writes it.

    `environ` takes the place of this process's environment. Raises RuntimeError, with the last line of
    what was printed, if nothing was measured.
    """
    with TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        command = [sys.executable, "-m", "gemwire_server", "bench", *flags]
        command += ["--seconds", f"{seconds:.1f}", "--warm-up", f"{warm_up}", "-o", str(output)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
            env=environ,
        )
        if done.returncode not in MEASURED:
            said = (done.stderr or done.stdout).strip().splitlines() or ["it printed nothing"]
            raise RuntimeError(f"gemwire bench: exit code {done.returncode}: {said[-1][:200]}")
        step: dict[str, Any] = json.loads(output.read_text())["steps"][0]
        return step


def bench(address: str, seconds: float, *flags: str) -> dict[str, Any]:
    """Runs one load. Returns answered calls, texts and tokens a second, the latency in milliseconds, and
    whether the client kept up. Raises RuntimeError as `run`.
    """
    step = run("--server", address, *flags, seconds=seconds)
    figures = step["all"]
    return {
        "calls_per_second": figures["ok_per_second"],
        "texts_per_second": figures["texts_per_second"],
        "tokens_per_second": figures["tokens_per_second"],
        "p50_ms": figures["latency"]["p50"],
        "p99_ms": figures["latency"]["p99"],
        "compute_p50_ms": figures["compute"]["p50"],
        "samples": figures["samples"],
        "not_answered": figures["samples"] - figures["ok"],
        "client_cores": sum(step["cpu"]),
        "valid": step["valid"],
        "accusations": step["accusations"],
    }
