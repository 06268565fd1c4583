"""Builds and tests the client libraries, each by its own `check` beside servers of its own.

    python -m gemwire_conformance.clients [--require] [LANGUAGE...]

A `check` that exits with 77 has said on stderr which tool is missing: its language is skipped, or with
--require fails. A check that succeeds without each case's script being played fails, and so does one that
takes an hour. What a check says goes to .cache/clients/LANGUAGE.log, whose end is shown if it fails. SIGINT
and SIGTERM end the checks with all that they started.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[3]
CLIENTS = ROOT / "clients"
LOGS = ROOT / ".cache" / "clients"
# The slowest to build first; two at a time, for each build uses several cores where it can.
LANGUAGES = ("rust", "cpp", "java", "typescript", "go")
AT_ONCE = 2
SKIPPED = 77
SHOWN_LINES = 60
LONGEST_SECONDS = 3600.0
GRACE_SECONDS = 20.0
STOPPED = threading.Event()  # by a signal


def check(language: str, *, require: bool) -> bool:
    """Whether the language's client passed or was skipped; says which in a line."""
    if STOPPED.is_set():
        return False
    started = time.monotonic()
    log = LOGS / f"{language}.log"
    with log.open("wb") as said:
        serve = [sys.executable, "-m", "gemwire_conformance", "--every-case"]
        code = run([*serve, str(CLIENTS / language / "check")], said)
    seconds = time.monotonic() - started
    lines = log.read_text(errors="replace").splitlines()
    if code == 0:
        print(f"{language}: passed in {seconds:.0f} s", flush=True)
        return True
    if code == SKIPPED and not require:
        print(f"{language}: skipped: {lines[-1] if lines else 'a tool is missing'}", flush=True)
        return True
    shown = "\n".join(lines[-SHOWN_LINES:])
    print(f"{shown}\n{language}: failed with exit code {code} in {seconds:.0f} s; all of it: {log}")
    sys.stdout.flush()
    return False


def run(command: list[str], said: IO[bytes]) -> int:
    """The exit code. What the command started ends with it: a session of its own can be signalled whole."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
    until = time.monotonic() + LONGEST_SECONDS
    while process.poll() is None and not STOPPED.wait(0.2) and time.monotonic() < until:
        pass
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--require", action="store_true", help="a missing tool is a failure")
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help="default: all")
    asked = parser.parse_args()
    if unknown := set(asked.languages) - set(LANGUAGES):
        parser.error(
            f"no client for {', '.join(sorted(unknown))}; there are {', '.join(LANGUAGES)}"
        )
    languages = [name for name in LANGUAGES if name in (asked.languages or LANGUAGES)]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: STOPPED.set())
    LOGS.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda name: check(name, require=asked.require), languages))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
