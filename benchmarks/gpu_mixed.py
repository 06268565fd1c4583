"""Part e: mixed lengths on a GPU, this engine against what PyTorch and its libraries offer, in turns.

Rivals, all in bfloat16 and all on token ids: sentence-transformers (scaled_dot_product_attention, texts
sorted by length) in batches of 128, on an H200 as fast as 512 and three times as fast as 32; the same
through torch.compile; and a packed encoder of compiled operations with varlen_attn and with
FlexAttention. Each one's vectors are compared with this engine's before anything is timed.

    python benchmarks/gpu_mixed.py [--model DIR] [--seconds 55] [--tile-table FILE] [--output FILE]

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

from card import card, require_cuda
from environment import environment, full_checkpoint
from gemwire_server.checkpoints import Checkpoint, open_checkpoint
from gemwire_server.errors import one_line
from gemwire_server.verify import Errors
from gpu_load import Embed, load, packed, random_ids, served, timed
from measure import keep, median_ratio, turns
from part import part_parser
from peers.packed_gpu import Packed
from peers.padded_gpu import Padded

OURS = "gemwire"
ROUNDS = 5
TIMING_SHARE = 0.25  # of the time, for all rounds: no rival's preparation may use it
AGREEMENT = 1e-2  # largest 1 - cos between contenders: a gross check, both err

Texts = Sequence[np.ndarray[Any, np.dtype[np.int32]]]


@dataclass(frozen=True)
class Rival:
    """`make` gives contenders by name; `seconds` are enough for it and for compiling at the first use."""

    name: str
    seconds: float
    make: Callable[[], Mapping[str, Embed]]


class Contenders(NamedTuple):
    """The contenders that take part, and the reason for each other one; `wrong` have other vectors."""

    running: dict[str, Embed]
    not_run: dict[str, str]
    wrong: list[str]


def main() -> int:
    args = part_parser(__doc__, seconds=55.0).parse_args()
    require_cuda()
    timing = 0.0 if args.dry_run else TIMING_SHARE * args.seconds
    end = time.monotonic() + args.seconds
    checkpoint = open_checkpoint(args.model or str(full_checkpoint()))
    what = served(args)
    result: dict[str, Any] = {
        "benchmark": "gpu_mixed",
        "environment": environment() | {"card": card()},
        "mixes": {},
    }
    random, vocabulary = np.random.default_rng(0), checkpoint.config.vocab_size
    mixes: dict[str, Texts] = {
        name: random_ids(lengths, vocabulary, random) for name, lengths in what.mixes.items()
    }
    budget = what.budgets[-1]
    runner = load(checkpoint, what.config(max_batch_tokens=budget))
    result["engine"] = runner.description
    ours = packed(runner, budget)
    # FlexAttention's blocks are of 128 tokens.
    every = rivals(checkpoint, max(budget, 128))
    contenders = prepare(ours, every, mixes, end - timing)
    result["not_run"] = contenders.not_run
    keep(result, args.output)
    for left, (name, texts) in zip(range(len(mixes), 0, -1), mixes.items(), strict=True):
        until = 0.0 if args.dry_run else end - timing * (left - 1) / len(mixes)
        result["mixes"][name] = compete(contenders.running, texts, until)
        keep(result, args.output)
    report(result)
    print(json.dumps(result))
    return 1 if contenders.wrong else 0


def rivals(checkpoint: Checkpoint, budget: int) -> list[Rival]:
    """Lists the rivals, the quickest to prepare first, in case time ends the run."""

    def padded(name: str, compiled: bool, sizes: Sequence[int]) -> Mapping[str, Embed]:
        model = Padded(checkpoint.path, compiled=compiled)
        return {f"{name} {size}": model.embed(size) for size in sizes}

    def side_by_side(name: str, kind: Any) -> Mapping[str, Embed]:
        return {name: Packed(checkpoint, kind, budget).embed}

    return [
        Rival(name, seconds, partial(make, name, *arguments))
        for name, seconds, make, *arguments in (
            ("sentence-transformers", 8.0, padded, False, (128,)),
            ("varlen_attn", 10.0, side_by_side, "varlen"),
            ("FlexAttention", 12.0, side_by_side, "flex"),
            ("torch.compile", 25.0, padded, True, (128,)),
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


def report(result: dict[str, Any]) -> None:
    for mix, values in result["mixes"].items():
        for name, rates in values["tokens_per_second"].items():
            print(f"{mix:22} {name:26} {median(rates) / 1e6:6.3f} M tokens/s")
    for name, why in result["not_run"].items():
        print(f"not run: {name}: {why}")


if __name__ == "__main__":
    sys.exit(main())
