"""Builds and tests the client libraries, each by its own `check` beside servers of its own.

    python -m gemwire_conformance.clients [--require] [LANGUAGE...]

A `check` that exits with 77 has said on stderr which tool is missing: its language is skipped, or with
--require fails. What a check says goes to .cache/clients/LANGUAGE.log, whose end is shown if it fails.
"""

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[3]
CLIENTS = ROOT / "clients"
LOGS = ROOT / ".cache" / "clients"
# The slowest to build first; two at a time, for each build uses several cores where it can.
LANGUAGES = ("rust", "cpp", "java", "typescript", "go")
AT_ONCE = 2
SKIPPED = 77
SHOWN_LINES = 60


def check(language: str, *, require: bool) -> bool:
    """Whether the language's client passed or was skipped; says which in a line."""
    started = time.monotonic()
    log = LOGS / f"{language}.log"
    with log.open("wb") as said:
        command = [sys.executable, "-m", "gemwire_conformance", str(CLIENTS / language / "check")]
        code = subprocess.run(command, cwd=ROOT, stdout=said, stderr=said, check=False).returncode
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
    LOGS.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda name: check(name, require=asked.require), languages))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
