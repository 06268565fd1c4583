"""Measures the time until a server of the full geometry is ready, and its memory then.

For a checkpoint stored in float32, as EmbeddingGemma is published, and in bfloat16, and for that one with
int8 weights and for one in a single process: seconds from the start to the banner, which comes after a
warm-up embed, and the memory of all its processes together then: the sum of their peaks, what is resident,
and how much of that is their own (the rest is libraries' files, which processes share).

    python benchmarks/startup.py [--rounds 3] [--output FILE]

Prints a table; the last line is JSON.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from environment import environment
from gemwire_server.checkpoints.synthetic import make_checkpoint
from server_process import server_process

MEMORY = ("VmHWM", "VmRSS", "RssAnon")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    found = {}
    with TemporaryDirectory() as folder:
        for dtype in ("float32", "bfloat16"):
            checkpoint = Path(folder) / dtype
            make_checkpoint(checkpoint, geometry="embeddinggemma-300m", seed=0, dtype=dtype)
            found[f"stored in {dtype}"] = starts(checkpoint, args.rounds)
        found["served in int8"] = starts(checkpoint, args.rounds, "--weights", "int8")
        found["in one process"] = starts(checkpoint, args.rounds, "--engine", "thread")
    print(f"{'':22} {'ready after':>12} {'peak':>9} {'resident':>9} {'its own':>9}")
    for name, values in found.items():
        memory = "".join(f"{values[key]:7.0f} MB" for key in MEMORY)
        print(f"{name:22} {values['seconds']:10.1f} s{memory}")
    result = {"benchmark": "startup", "rounds": args.rounds, "checkpoints": found}
    line = json.dumps(result | {"environment": environment()})
    if args.output:
        args.output.write_text(line + "\n")
    print(line)
    return 0


def starts(checkpoint: Path, rounds: int, *flags: str) -> dict[str, float]:
    """Returns the median seconds, and the most memory in MB, of some servers one after the other."""
    found = [start(checkpoint, *flags) for _ in range(rounds)]
    return {
        key: (statistics.median if key == "seconds" else max)([values[key] for values in found])
        for key in found[0]
    }


def start(
    checkpoint: Path, *flags: str, environ: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Returns the seconds and MB of one server, which is then stopped."""
    began = time.monotonic()
    with server_process(checkpoint, *flags, environ=environ) as server:
        seconds = time.monotonic() - began
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        memories = [memory(pid) for pid in (server.pid, *map(int, children))]
    return {"seconds": seconds} | {key: sum(each[key] for each in memories) for key in MEMORY}


def memory(pid: int) -> dict[str, float]:
    """The memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return {key: int(status[key].split()[0]) * 1024 / 1e6 for key in MEMORY}


if __name__ == "__main__":
    sys.exit(main())
