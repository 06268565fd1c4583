"""This engine against sentence-transformers, llama.cpp and ONNX Runtime on the same checkpoint.

Texts in, vectors out, on the CPU. Every contender is first checked to give the vectors of
sentence-transformers in float32, as close as its precision allows, and tries its batch sizes; then all
take turns for some rounds, each at its fastest size, this engine as it is served. A contender that is not
installed, or gives other vectors, is named with the reason. The ceiling, "products", is the encoder's
matrix products alone. README.md beside this file says how to read it.

    python benchmarks/baselines.py [--model DIR] [--rounds 5] [--only gemwire onnxruntime/int8]
        [--workload mixed query 512 2048] [--output FILE] [--plot FILE]

Prints tables; the last line is JSON, which --output also writes to a file.
"""

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

from contest import EVERYONE, Contest
from environment import full_checkpoint
from gemwire_server.checkpoints import open_checkpoint
from report import print_report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", help="checkpoint folder; default: a seeded one of the full geometry"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="CONTENDER", help="library, or library/kind")
    parser.add_argument("--workload", nargs="+", choices=["mixed", "query", "512", "2048"])
    parser.add_argument("--output", type=Path, help="a file for the last line")
    parser.add_argument("--plot", type=Path, help="a PNG file; needs matplotlib")
    args = parser.parse_args()
    if args.plot and find_spec("matplotlib") is None:  # fails now, not after ten minutes
        parser.error("--plot needs matplotlib: pip install '.[peers]'")
    names = chosen(args.only)
    checkpoint = open_checkpoint(args.model or str(full_checkpoint()))
    contest = Contest(checkpoint, args.seed, args.workload)
    contest.prepare(names)
    contest.measure(args.rounds)
    result = contest.result()
    print_report(result)
    if args.plot:
        from plot import draw

        draw(result, args.plot)
    line = json.dumps(result)
    if args.output:
        args.output.write_text(line + "\n")
    print(line)
    return 0


def chosen(only: list[str] | None) -> list[str]:
    """Returns the contenders of the libraries or names given, or all."""
    for choice in only or []:
        if not any(choice in (name, name.partition("/")[0]) for name in EVERYONE):
            raise SystemExit(f"no contender {choice}; there are {', '.join(EVERYONE)}")
    return [
        name for name in EVERYONE if only is None or name in only or name.partition("/")[0] in only
    ]


if __name__ == "__main__":
    sys.exit(main())
