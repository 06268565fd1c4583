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
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import uninstalled
from bench_command import run
from environment import environment, full_checkpoint
from server_process import server_process
from startup import start

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
    trees = {"before": args.before.resolve(), "after": uninstalled.ROOT.resolve()}
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
    times = {"seconds": seconds, "warm_up": 2.0}
    environ, here = uninstalled.environment(tree=tree), uninstalled.environment()
    mini = tree / "server" / "gemwire_mini" / "checkpoint"
    load = ["--mode", "batch", "--texts", "2", "--tokens", MIXED, "--callers", "32"]
    engine = run("--in-process", "--model", str(checkpoint), *load, environ=environ, **times)
    started = start(checkpoint, environ=environ)
    with server_process(mini, environ=environ) as server:
        many = run("--server", server.address, "--callers", "64", environ=here, **times)
        one = run("--server", server.address, "--callers", "1", environ=here, **times)
    return {
        "engine tokens/s": engine["all"]["tokens_per_second"],
        "calls/s of 64 callers": many["all"]["ok_per_second"],
        "p50 ms of one caller": one["all"]["latency"]["p50"],
        "seconds to ready": started["seconds"],
        "resident MB": started["VmRSS"],
    }


def _revision(folder: Path) -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=folder, capture_output=True, text=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
