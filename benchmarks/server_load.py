"""Measures a server under open-loop load: the curve, the knee, goodput within an SLO.

A sweep of unary calls, one of batches and one of streams, each of the same texts, on a server process with
the full geometry. Client and server share the cores; the server is niced, so that the sender need not wait
behind the engine's threads: a result that its client spoilt says so and is not valid.

    python benchmarks/server_load.py --output DIR [--modes unary] [--seconds 60] [-- SERVER FLAGS]

Writes load-cpu-MODE.json for each mode, and load-cpu.png and load-cpu.html of all of them.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from environment import full_checkpoint
from server_process import server_process

# The first rate of each mode, in calls a second, and the content of a call: queries as interactive
# callers send them, and passages in bulk, with the same number of tokens a text.
TOKENS = "0.8*uniform:8:32+0.2*uniform:64:256"
MODES = {
    "unary": ["--rate", "8"],
    "batch": ["--rate", "1", "--texts", "8"],
    "stream": ["--rate", "2", "--texts", "4"],
}
VALID = (0, 3)
SERVER_NICE = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="a folder")
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, default=list(MODES), help="default: all three"
    )
    parser.add_argument("--model", help="checkpoint folder; default: a seeded full geometry")
    parser.add_argument("--seconds", default="60", help="of each step")
    parser.add_argument("--warm-up", default="3", help="seconds before each step")
    parser.add_argument("--slo", default="p99=250ms")
    parser.add_argument("--bisections", default="4")
    parser.add_argument("server", nargs="*", help="flags of gemwire serve, after --")
    args = parser.parse_args()
    checkpoint = Path(args.model) if args.model else full_checkpoint()
    bench = [sys.executable, "-m", "gemwire_server", "bench"]
    common = ["--seconds", args.seconds, "--warm-up", args.warm_up, "--slo", args.slo]
    common += ["--bisections", args.bisections, "--tokens", TOKENS, "--deadline", "5"]
    paths = {mode: args.output / f"load-cpu-{mode}.json" for mode in MODES}
    worst = 0
    with server_process(checkpoint, *args.server, nice=SERVER_NICE) as server:
        for mode in args.modes:
            load = ["--server", server.address, "--sweep", "--mode", mode, "--label", mode]
            done = subprocess.run(
                [*bench, *load, *common, *MODES[mode], "-o", str(paths[mode])], check=False
            )
            if done.returncode not in VALID:
                worst = done.returncode
    pictures = [
        "--html",
        str(args.output / "load-cpu.html"),
        "--png",
        str(args.output / "load-cpu.png"),
    ]
    found = [str(path) for path in paths.values() if path.exists()]
    if found:
        subprocess.run([*bench, "report", *found, *pictures], check=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
