"""Compares two source trees on one machine: what a change of structure costs.

Each round measures every row with both trees, one after the other, in an order that alternates. So a
machine that is slow for a minute is slow for both trees.

    git worktree add --detach /tmp/before REVISION
    python benchmarks/two_trees.py --before /tmp/before [--rounds 5] [--output FILE]

Rows: tokens/s of the engine on mixed lengths (in process), calls/s of 64 callers and the median latency of
one caller (gemwire-mini behind a server, the load always sent by this tree), seconds from the start to
ready, and the resident memory of all processes of a server then. Prints a table; the last line is JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from environment import environment, full_checkpoint
from uninstalled import FOLDERS, ROOT

MIXED = "0.8*uniform:8:64+0.2*uniform:200:512"
# The goal of each row as after/before; True: more is better.
GOALS: dict[str, tuple[float, bool]] = {
    "engine tokens/s": (0.98, True),
    "calls/s of 64 callers": (0.98, True),
    "p50 ms of one caller": (1.03, False),
    "seconds to ready": (1.05, False),
    "resident MB": (1.02, False),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="the other tree's folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    trees = {"before": args.before.resolve(), "after": ROOT.resolve()}
    found: dict[str, dict[str, list[float]]] = {row: {tree: [] for tree in trees} for row in GOALS}
    checkpoint = full_checkpoint()
    for number in range(args.rounds):
        order = list(trees) if number % 2 == 0 else list(reversed(trees))
        for tree in order:
            for row, value in measure(trees[tree], checkpoint, args.seconds).items():
                found[row][tree].append(value)
            print(f"round {number + 1}: {tree}", file=sys.stderr, flush=True)
    rows = {row: summary(values, *GOALS[row]) for row, values in found.items()}
    print(f"{'':24}{'before':>10}{'after':>10}{'after/before':>14}{'goal':>9}")
    for row, each in rows.items():
        sign = ">=" if GOALS[row][1] else "<="
        print(
            f"{row:24}{each['before']:10.2f}{each['after']:10.2f}{each['ratio']:14.3f}"
            f"{sign:>5}{each['goal']:.2f}"
        )
    revisions = {tree: _revision(folder) for tree, folder in trees.items()}
    result = {"benchmark": "two trees", "rounds": args.rounds, "revisions": revisions, "rows": rows}
    line = json.dumps(result | {"samples": found, "environment": environment()})
    if args.output:
        args.output.write_text(line + "\n")
    print(line)
    return 0


def summary(values: dict[str, list[float]], goal: float, more_is_better: bool) -> dict[str, Any]:
    """Medians, and the median of the rounds' ratios."""
    ratios = [
        after / before for before, after in zip(values["before"], values["after"], strict=True)
    ]
    ratio = statistics.median(ratios)
    return {
        "before": statistics.median(values["before"]),
        "after": statistics.median(values["after"]),
        "ratio": ratio,
        "goal": goal,
        "met": ratio >= goal if more_is_better else ratio <= goal,
    }


def measure(tree: Path, checkpoint: Path, seconds: float) -> dict[str, float]:
    """One value for each row."""
    load = ["--mode", "batch", "--texts", "2", "--tokens", MIXED, "--callers", "32"]
    engine = bench(tree, "--in-process", "--model", str(checkpoint), *load, seconds=seconds)
    with server(tree, checkpoint) as full:
        pass
    with server(tree) as mini:
        many = bench(ROOT, "--server", mini.address, "--callers", "64", seconds=seconds)
        one = bench(ROOT, "--server", mini.address, "--callers", "1", seconds=seconds)
    return {
        "engine tokens/s": engine["tokens_per_second"],
        "calls/s of 64 callers": many["ok_per_second"],
        "p50 ms of one caller": one["latency"]["p50"],
        "seconds to ready": full.seconds,
        "resident MB": full.resident,
    }


class Server:
    """A server that is ready: its address, how long that took, and the memory of its processes in MB."""

    def __init__(self, address: str, seconds: float, resident: float) -> None:
        self.address = address
        self.seconds = seconds
        self.resident = resident


@contextmanager
def server(tree: Path, checkpoint: Path | None = None) -> Iterator[Server]:
    """A server of the tree on any free port of 127.0.0.1, stopped at exit."""
    command = [sys.executable, "-m", "gemwire_server", "serve", "--address", "127.0.0.1:0"]
    model = [] if checkpoint is None else ["--model", str(checkpoint)]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, *model, "--log-level", "error"],
        cwd=tree,
        env=_environment(tree),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        banner = process.stdout.readline()
        seconds = time.monotonic() - began
        if not banner:
            raise SystemExit(f"the server of {tree} did not start")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        resident = sum(_resident(pid) for pid in (process.pid, *map(int, children)))
        yield Server(banner.split()[-1], seconds, resident)
    finally:
        process.terminate()
        process.communicate()


def bench(tree: Path, *flags: str, seconds: float) -> dict[str, Any]:
    """The figures of one closed loop of `gemwire bench`."""
    with TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        command = [sys.executable, "-m", "gemwire_server", "bench", *flags]
        command += ["--seconds", str(seconds), "--warm-up", "2", "-o", str(output)]
        done = subprocess.run(
            command, cwd=tree, env=_environment(tree), capture_output=True, text=True, check=False
        )
        if not output.exists():
            raise SystemExit(f"gemwire bench of {tree} failed:\n{done.stderr}")
        figures: dict[str, Any] = json.loads(output.read_text())["steps"][0]["all"]
        return figures


def _environment(tree: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GEMWIRE_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(str(tree / folder) for folder in FOLDERS)}


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(value) * 1024 / 1e6


def _revision(folder: Path) -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=folder, capture_output=True, text=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
