"""Mixed lengths on a GPU: this engine against what PyTorch and its libraries offer, in turns.

Rivals, all in bfloat16 and all on token ids: sentence-transformers (scaled_dot_product_attention, texts
sorted by length) in batches of several sizes; the same through torch.compile; and a packed encoder of
compiled operations with varlen_attn and with FlexAttention. Each one's vectors are compared with this
engine's before anything is timed.

    python benchmarks/gpu_mixed.py [--model DIR] [--seconds 180] [--tile-table FILE] [--output FILE]

Prints a table; the last line is JSON. Exits with 1 if a rival's vectors are others.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from card import card, gpu_parser, print_goals, require_cuda
from environment import environment, full_checkpoint
from gemwire_server.checkpoints import Checkpoint, open_checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import one_line
from gemwire_server.verify import Errors
from gpu_engine import BUDGETS, Embed, load, packed, random_ids, timed
from measure import keep, median_ratio, turns
from peers.packed_gpu import Packed
from peers.padded_gpu import Padded

OURS, GOAL = "gemwire", 6.0
BUDGET = BUDGETS[-1]
ROUNDS = 5
TIMING_SECONDS = 40.0  # for all rounds, which no rival's preparation may use
AGREEMENT = 1e-2  # largest 1 - cos between contenders: a gross check, both err

Texts = Sequence[np.ndarray[Any, np.dtype[np.int32]]]


@dataclass(frozen=True)
class Rival:
    """`make` gives contenders by name; `seconds` are enough for it and for compiling at the first use."""

    name: str
    seconds: float
    make: Callable[[], Mapping[str, Embed]]


class Contenders(NamedTuple):
    """Who takes part, and of others why not; `wrong`: whose vectors were others."""

    running: dict[str, Embed]
    not_run: dict[str, str]
    wrong: list[str]


def main() -> int:
    parser = gpu_parser(__doc__, seconds=180.0)
    parser.add_argument("--model", help="checkpoint folder; default: a seeded one of full geometry")
    args = parser.parse_args()
    device = require_cuda()
    end = time.monotonic() + args.seconds
    checkpoint = open_checkpoint(args.model or str(full_checkpoint()))
    config = ServerConfig(
        model="any",
        device=str(device),
        max_batch_tokens=BUDGET,
        tile_table=str(args.tile_table or ""),
    )
    result: dict[str, Any] = {
        "benchmark": "gpu_mixed",
        "card": card(),
        "environment": environment(),
        "mixes": {},
    }
    mixes = mixed_texts(checkpoint, np.random.default_rng(0))
    runner = load(checkpoint, config)
    result["engine"] = runner.description
    ours = packed(runner, BUDGET)
    contenders = prepare(ours, rivals(checkpoint), mixes, end - TIMING_SECONDS)
    result["not_run"] = contenders.not_run
    keep(result, args.output)
    for i, (name, texts) in enumerate(mixes.items()):
        result["mixes"][name] = compete(contenders.running, texts, share_of(end, i, len(mixes)))
        result["goals"] = goals(result["mixes"])
        keep(result, args.output)
    report(result)
    print(json.dumps(result))
    return 1 if contenders.wrong else 0


def mixed_texts(checkpoint: Checkpoint, random: np.random.Generator) -> dict[str, Texts]:
    mixes = {
        "lognormal": np.clip(random.lognormal(np.log(40), 0.9, 2048), 8, 600).astype(int),
        "queries and passages": np.concatenate(
            [random.integers(8, 33, 1024), random.integers(200, 513, 1024)]
        ),
    }
    return {
        name: random_ids(random.permutation(lengths).tolist(), checkpoint, random)
        for name, lengths in mixes.items()
    }


def rivals(checkpoint: Checkpoint) -> list[Rival]:
    """The quickest to prepare first, for when time ends the run."""

    def padded(name: str, compiled: bool, sizes: Sequence[int]) -> Mapping[str, Embed]:
        model = Padded(checkpoint.path, compiled=compiled)
        return {f"{name} {size}": model.embed(size) for size in sizes}

    def side_by_side(name: str, kind: Any) -> Mapping[str, Embed]:
        return {name: Packed(checkpoint, kind, BUDGET).embed}

    return [
        Rival(name, seconds, partial(make, name, *arguments))
        for name, seconds, make, *arguments in (
            ("sentence-transformers", 10.0, padded, False, (32, 128, 512)),
            ("varlen_attn", 20.0, side_by_side, "varlen"),
            ("FlexAttention", 20.0, side_by_side, "flex"),
            ("torch.compile", 25.0, padded, True, (128, 512)),
        )
    ]


def prepare(
    ours: Embed, rivals: Sequence[Rival], mixes: Mapping[str, Texts], end: float
) -> Contenders:
    """Makes each rival there is time for, runs it once, and compares its vectors."""
    contenders = Contenders({OURS: ours}, {}, [])
    truths = {mix: ours(texts) for mix, texts in mixes.items()}
    for rival in rivals:
        if time.monotonic() + rival.seconds > end:
            contenders.not_run[rival.name] = "no time was left"
            continue
        try:
            for name, embed in rival.make().items():
                distances = [
                    Errors.of(embed(texts), truths[mix]).maximum for mix, texts in mixes.items()
                ]
                distance = float(np.max(distances))  # not max(): it may lose a NaN
                if distance < AGREEMENT:
                    contenders.running[name] = embed
                else:
                    contenders.not_run[name] = f"other vectors: 1 - cos up to {distance:.1e}"
                    contenders.wrong.append(name)
                print(f"{name}: {contenders.not_run.get(name, 'takes part')}", flush=True)
        except Exception as error:  # a compiler's, or no such operation there; the others still run
            contenders.not_run[rival.name] = f"{type(error).__name__}: {one_line(error)[:200]}"
            print(f"{rival.name}: {contenders.not_run[rival.name]}", flush=True)
    return contenders


def compete(contenders: Mapping[str, Embed], texts: Texts, end: float) -> dict[str, Any]:
    """Tokens/s of each in whole rounds, until `end` and at least one; and the least ratio of ours."""
    tokens = sum(map(len, texts))
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(ROUNDS):
        for name in turns(list(rates), number):
            rates[name].append(tokens / timed(contenders[name], texts))
        if time.monotonic() > end:
            break
    ratios = {
        name: median_ratio(rates[OURS], values) for name, values in rates.items() if name != OURS
    }
    best = min(ratios, key=lambda name: ratios[name], default=None)
    return {
        "texts": len(texts),
        "tokens": tokens,
        "tokens_per_second": rates,
        "best_rival": best,
        "ratio": None if best is None else ratios[best],
    }


def share_of(end: float, index: int, count: int) -> float:
    """When the mix of this index has to end, of those that are left until `end`."""
    return end - TIMING_SECONDS * (count - 1 - index) / count


def goals(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "goal": f"{mix}, ratio to {values['best_rival']}",
            "reached": values["ratio"],
            "wanted": GOAL,
            "met": values["ratio"] >= GOAL,
        }
        for mix, values in results.items()
        if values["ratio"] is not None
    ]


def report(result: dict[str, Any]) -> None:
    for mix, values in result["mixes"].items():
        for name, rates in values["tokens_per_second"].items():
            print(f"{mix:22} {name:26} {median(rates) / 1e6:6.3f} M tokens/s")
    for name, why in result["not_run"].items():
        print(f"not run: {name}: {why}")
    print_goals(result["goals"])


if __name__ == "__main__":
    sys.exit(main())
