"""How long a server of the full geometry takes until it is ready, and how much memory that takes.

For a checkpoint stored in float32, as EmbeddingGemma is published, and in bfloat16: seconds from the
start of the process to its banner, which comes after a warm-up embed, and the process' peak memory then.

    python benchmarks/startup.py [--rounds 3] [--output FILE]

Prints a table; the last line is JSON.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from environment import environment
from gemwire_server.checkpoint.synthetic import make_checkpoint
from server_process import server_process


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
            starts = [start(checkpoint) for _ in range(args.rounds)]
            found[f"stored in {dtype}"] = {
                "seconds": statistics.median(seconds for seconds, _ in starts),
                "peak_mb": max(peak for _, peak in starts),
            }
    print(f"{'':22} {'ready after':>12} {'peak memory':>12}")
    for name, values in found.items():
        print(f"{name:22} {values['seconds']:10.1f} s {values['peak_mb']:9.0f} MB")
    result = {"benchmark": "startup", "rounds": args.rounds, "checkpoints": found}
    line = json.dumps(result | {"environment": environment()})
    if args.output:
        args.output.write_text(line + "\n")
    print(line)
    return 0


def start(checkpoint: Path) -> tuple[float, float]:
    """(seconds, MB) of one server, which is then stopped."""
    began = time.monotonic()
    with server_process(checkpoint) as server:
        seconds = time.monotonic() - began
        status = Path(f"/proc/{server.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return seconds, int(peak.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
