"""Checks the server's promises under faults and load, at full size, on a simulated device of set speed.

Each row is a scenario of benchmarks/faults/scenarios, measured on a server process of its own. Load and
server share the machine. A device that only sleeps leaves the processors to what is measured: admission,
queue, processes, gRPC.

    make soak ARGS='[--engine process] [--rows drain crash ...] [--scale 0.1] [--output FILE]'

Prints a table of bars, met or MISSED; the last line is JSON, which --output also writes to a file.
`--scale` shortens what takes long; rows of FILE that are not run again stay in it. Exit code 1: a row
failed; a bar that is missed is no failure.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from environment import environment
from faults.under_test import ENGINES
from gemwire_server.checkpoints.synthetic import make_checkpoint
from measure import progress
from promises import ROWS, Bar, Setting


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=ENGINES[-1],
        help="where the engine runs (default: %(default)s)",
    )
    parser.add_argument(
        "--rows",
        nargs="+",
        choices=list(ROWS),
        default=list(ROWS),
        metavar="ROW",
        help=f"run these rows: {', '.join(ROWS)} (default: all)",
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="shorten long rows by this factor (default: 1)"
    )
    parser.add_argument("--output", type=Path, help="a JSON file that keeps the rows")
    args = parser.parse_args()
    found: dict[str, dict[str, object]] = {}
    if args.output and args.output.exists():
        found = json.loads(args.output.read_text())["rows"]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "tiny"
        make_checkpoint(checkpoint, geometry="tiny", seed=0)
        setting = Setting(checkpoint, args.engine, args.scale)
        for name in args.rows:
            found[name] = measured(ROWS[name], name, setting)
    result = {
        "benchmark": "soak",
        "rows": found,
        "environment": environment(),
    }
    line = json.dumps(result)
    if args.output:
        args.output.write_text(line + "\n")
    print(line)
    return int(any("failed" in row for row in found.values()))


def measured(
    row: Callable[[Setting], Iterator[Bar]], name: str, setting: Setting
) -> dict[str, object]:
    """Runs one row and prints its lines as they come."""
    progress(name)
    load, started = os.getloadavg()[0], time.monotonic()
    bars: list[Bar] = []
    result: dict[str, object] = {
        "engine": setting.engine,
        "scale": setting.scale,
        "load_average_before": load,
    }
    try:
        for bar in row(setting):
            bars.append(bar)
            print(
                f"{name:10} {bar.what:52} {bar.bar:24} {bar.shown:>14}  {bar.verdict}", flush=True
            )
    except Exception as error:
        traceback.print_exc()
        print(f"{name:10} failed: {type(error).__name__}", flush=True)
        result["failed"] = type(error).__name__
    result["seconds"] = round(time.monotonic() - started, 1)
    result["bars"] = [bar.record() for bar in bars]
    return result


if __name__ == "__main__":
    sys.exit(main())
