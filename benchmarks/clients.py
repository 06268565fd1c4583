"""Measures what the client libraries cost: CPU time of a streamed text, and latency of a unary call.

All clients in turns against one server of gemwire-mini; client and server share the cores. Every client
runs its own bench program: a warm-up, 300 unary calls in a row, one stream of short texts, 64 a message.

    python benchmarks/clients.py [--clients go,rust] [--rounds 5] [--texts 20000] [--output FILE]

The clients must have been built (make clients). Prints a table; the last line is JSON, which --output also
writes to a file. Exit code 3: a goal is missed.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from environment import environment
from gemwire_mini import CHECKPOINT
from measure import progress, turns
from server_process import server_process
from uninstalled import ROOT

CLIENTS = ROOT / "clients"
BUILT = ROOT / ".cache" / "bench"
PYTHON = [sys.executable, str(CLIENTS / "python" / "bench.py")]
GO, CPP = BUILT / "go", BUILT / "cpp"
# What builds a bench program, and the program, which takes ADDRESS TEXTS.
BUILDS: dict[str, list[list[str]]] = {
    "cpp": [
        ["cmake", "-S", ".", "-B", str(CPP), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"],
        ["cmake", "--build", str(CPP), "--target", "gemwire_bench", "-j", "2"],
    ],
    "rust": [["cargo", "bench", "--quiet", "--no-run"]],
    "go": [["go", "build", "-o", str(GO), "./bench"]],
}
RUNS: dict[str, list[str]] = {
    "rust": ["cargo", "bench", "--quiet", "--"],
    "cpp": [str(CPP / "bench" / "bench")],
    "go": [str(GO)],
    "java": ["bench/bench"],
    "typescript": ["node", "build/bench/bench.js"],
    "python": PYTHON,
    "python-asyncio": PYTHON,
}
MORE = {"python-asyncio": ["--asyncio"]}
# CPU time of a streamed text in microseconds, at most.
GOALS = {"rust": 12, "cpp": 12, "go": 20, "java": 55, "typescript": 85, "python": 30}
UNARY_GOAL = 1.3  # times the best client's p50
MISSED = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", default=",".join(RUNS), help=f"default: {','.join(RUNS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    names: list[str] = asked.clients.split(",")
    if unknown := set(names) - set(RUNS):
        parser.error(f"no client {', '.join(sorted(unknown))}; there are {', '.join(RUNS)}")
    build(names)
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with server_process(CHECKPOINT) as server:
        for turn in range(asked.rounds):
            for name in turns(names, turn % len(names)):
                progress(f"round {turn + 1} of {asked.rounds}: {name}")
                rounds[name].append(run(name, server.address, asked.texts))
    clients = {name: summary(found) for name, found in rounds.items()}
    reached = goals(clients)
    result = {"environment": environment(), "clients": clients, "goals": reached}
    print_table(clients, reached)
    line = json.dumps(result)
    if asked.output:
        asked.output.write_text(json.dumps(result, indent=1) + "\n")
    print(line)
    return 0 if all(goal["met"] for goal in reached) else MISSED


def folder(name: str) -> Path:
    return CLIENTS / name.split("-")[0]


def build(names: list[str]) -> None:
    BUILT.mkdir(parents=True, exist_ok=True)
    for name in names:
        for command in BUILDS.get(name, []):
            progress(f"building {name}")
            subprocess.run(command, cwd=folder(name), check=True, stdout=subprocess.DEVNULL)


def run(name: str, address: str, texts: int) -> dict[str, Any]:
    """The JSON line of a client's bench program."""
    command = [*RUNS[name], address, str(texts), *MORE.get(name, [])]
    done = subprocess.run(
        command, cwd=folder(name), check=True, capture_output=True, text=True, timeout=600
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if found["texts"] != texts:
        raise SystemExit(f"{name}: {found['texts']} of {texts} texts were answered")
    return found


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians, and the CPU time of a text in microseconds of each round."""
    cpu = [1e6 * found["stream_cpu_seconds"] / found["texts"] for found in rounds]
    return {
        "runtime": rounds[0]["runtime"],
        "cpu_us_a_text": round(statistics.median(cpu), 1),
        "cpu_us_a_text_rounds": [round(value, 1) for value in cpu],
        "texts_a_second": round(
            statistics.median(found["texts"] / found["stream_seconds"] for found in rounds)
        ),
        "unary_p50_ms": round(statistics.median(found["unary_p50_ms"] for found in rounds), 3),
        "unary_p50_ms_rounds": [round(found["unary_p50_ms"], 3) for found in rounds],
        "unary_p99_ms": round(statistics.median(found["unary_p99_ms"] for found in rounds), 3),
    }


def goals(clients: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    best = min(found["unary_p50_ms"] for found in clients.values())
    made = []
    for name, found in clients.items():
        if name in GOALS:
            cpu = found["cpu_us_a_text"]
            goal = f"{name}: CPU of a streamed text <= {GOALS[name]} us"
            made.append({"goal": goal, "value": cpu, "met": cpu <= GOALS[name]})
        ratio = found["unary_p50_ms"] / best
        goal = f"{name}: unary p50 <= {UNARY_GOAL} x the best"
        made.append({"goal": goal, "value": round(ratio, 2), "met": ratio <= UNARY_GOAL})
    return made


def print_table(clients: dict[str, dict[str, Any]], reached: list[dict[str, Any]]) -> None:
    print(f"{'client':16} {'CPU us/text':>11} {'texts/s':>8} {'p50 ms':>7} {'p99 ms':>7}  runtime")
    for name, found in clients.items():
        print(
            f"{name:16} {found['cpu_us_a_text']:11.1f} {found['texts_a_second']:8d} "
            f"{found['unary_p50_ms']:7.2f} {found['unary_p99_ms']:7.2f}  {found['runtime']}"
        )
    for goal in reached:
        print(f"{'met' if goal['met'] else 'MISSED':7} {goal['value']:>6}  {goal['goal']}")


if __name__ == "__main__":
    sys.exit(main())
