"""Part f measures tile sizes of the three dearest operations on this card, for batches of every size.

    python benchmarks/gpu_tune.py [--seconds 40] [--kernels FILE] [--tiles FILE] [--output FILE]

Which three, --kernels says: the file of part d. The table goes to --tiles, for `gemwire serve
--tile-table` and for --tile-table of the other parts. Prints a table; the last line is JSON.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from card import card, require_cuda
from environment import environment
from gemwire_kernels.gpu.tiles import find_table, merge, to_entry
from gemwire_kernels.gpu.tune import OPERATIONS, tune
from gemwire_kernels.gpu.workbench import EMBEDDINGGEMMA, Workbench
from gemwire_server.cli.tune import summary
from gpu_kernels import DRY_SIZES
from measure import keep
from part import part_parser

NUMBER = 3
# By arithmetic, for where nothing was measured.
EXPECTED = ("gate_up", "linear", "attention")
TOKENS = 16896
# What a layer computes of each operation; of six layers one attends to the whole text.
PARTS = {
    "qkv": {"qkv_norm_rope": 1.0},
    "linear": {"linear o": 1.0, "linear down": 1.0},
    "gate_up": {"gate_up_geglu": 1.0},
    "attention": {"attention window 512": 5 / 6, "attention full 512": 1 / 6},
}


def main() -> int:
    parser = part_parser(__doc__, seconds=40.0)
    parser.add_argument("--kernels", type=Path, help="the file of part d")
    parser.add_argument("--tiles", type=Path, help="where the table goes")
    args = parser.parse_args()
    device = require_cuda()
    bench = Workbench(DRY_SIZES if args.dry_run else EMBEDDINGGEMMA, torch.bfloat16, device)
    gpu = torch.cuda.get_device_properties(device).name
    table = find_table(gpu, bench.shared_memory, "bfloat16", args.tile_table, major=bench.major)
    operations = dearest(args.kernels)
    print(f"{', '.join(operations)}; before: {table.source}", flush=True)
    seconds = 2.0 if args.dry_run else 0.9 * args.seconds
    tuned = tune(bench, table, seconds, tell, operations)
    result: dict[str, Any] = {
        "benchmark": "gpu_tune",
        "environment": environment() | {"card": card()},
        "operations": operations,
        "changes": [asdict(change) for change in tuned.changes],
        "entry": to_entry(tuned.sets, gpu, "bfloat16"),
    }
    keep(result, args.output)
    if args.tiles:
        merge(args.tiles, result["entry"])
    print(summary(tuned))
    print(json.dumps(result))
    return 0


def dearest(path: Path | None) -> list[str]:
    """Returns the operations that take the longest in a layer, by part d's file or as expected."""
    if path is None or not path.exists():
        return list(EXPECTED)
    kernels = json.loads(path.read_text())["result"] or {"rows": []}
    seconds = {
        row["operation"]: row["seconds"]
        for row in kernels["rows"]
        if row["contender"] == "gemwire" and row["tokens"] == TOKENS and "seconds" in row
    }
    costs = {
        name: sum(share * seconds.get(part, 0.0) for part, share in parts.items())
        for name, parts in PARTS.items()
    }
    found = sorted(OPERATIONS, key=lambda name: -costs[name])[:NUMBER]
    return found if all(costs[name] for name in found) else list(EXPECTED)


def tell(done: int, steps: int, what: str) -> None:
    print(f"{done} of {steps}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
