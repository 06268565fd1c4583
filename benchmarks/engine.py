"""The engine against sentence-transformers on the same checkpoint, texts in, vectors out.

What is measured: tokens a second over a seeded mix of lengths (lognormal, median about 40 tokens, up to
600), and the latency of one short query. Contenders take turns within each round, so that a machine that
slows down slows all of them; figures are medians over rounds, ratios are medians of each round's ratio.
Every contender is first checked to give the same vectors. Both sides tokenize; sentence-transformers
sorts by length and pads within a batch, as it does for its users.

    python benchmarks/engine.py [--model DIR] [--rounds 5] [--texts 64] [--output FILE]

Prints a table; the last line is JSON, which --output also writes to a file.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from environment import environment, full_checkpoint
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from gemwire_server.checkpoint import Checkpoint, open_checkpoint
from gemwire_server.engine import Submission
from gemwire_server.packing import pack
from gemwire_server.runner import ModelRunner
from gemwire_server.scheduler import Item, Scheduler
from gemwire_server.tokenizer import Tokenizer
from gemwire_server.verify import CARD_QUERY, sample_source, text_of

BUDGETS = (256, 512, 1024, 2048)
BATCH_SIZES = (1, 8, 32)
# Largest 1 - cos between contenders: a gross check, sentence-transformers in bf16 is up to 3e-3 off.
AGREEMENT = 1e-2
Embed = Callable[[Sequence[str]], NDArray[np.float32]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", help="checkpoint folder; default: a seeded one of the full geometry"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--queries", type=int, default=20, help="single queries a round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    checkpoint = open_checkpoint(args.model or str(full_checkpoint()))
    tokenizer = checkpoint.load_tokenizer()
    texts = mixed_texts(tokenizer, args.texts, args.seed)
    tokens = sum(len(tokenizer.encode(text).ids) for text in texts)
    contenders = make_contenders(checkpoint, tokenizer)
    reference = contenders["st float32 batch 1"](texts)
    for name, embed in contenders.items():
        distance = 1 - (embed(texts) * reference).sum(1) / np.linalg.norm(reference, axis=1)
        if not distance.max() < AGREEMENT:
            raise SystemExit(f"{name} gives other vectors: 1 - cos up to {distance.max():.1e}")
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    latencies: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(args.rounds):
        progress(f"round {number + 1} of {args.rounds}")
        for name, embed in contenders.items():
            rates[name].append(tokens / seconds(embed, texts))
        for name in single_query(contenders):
            times = [seconds(contenders[name], [CARD_QUERY]) for _ in range(args.queries)]
            latencies[name].append(statistics.median(times) * 1e3)
    result = {
        "benchmark": "engine",
        "model": checkpoint.name,
        "texts": len(texts),
        "tokens": tokens,
        "query_tokens": len(tokenizer.encode(CARD_QUERY).ids),
        "rounds": args.rounds,
        "seed": args.seed,
        "tokens_per_second": {name: statistics.median(rates[name]) for name in rates},
        "query_ms": {
            name: statistics.median(values) for name, values in latencies.items() if values
        },
        "ratios": ratios(rates, latencies),
        "environment": environment(),
    }
    report(result, rates)
    line = json.dumps(result)
    if args.output:
        args.output.write_text(line + "\n")
    print(line)
    return 0


def mixed_texts(tokenizer: Tokenizer, count: int, seed: int) -> list[str]:
    """Texts of lognormal lengths: median 40 tokens, sigma 0.9, 8 to 600."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.lognormal(np.log(40), 0.9, count), 8, 600).astype(int)
    source = sample_source(tokenizer)
    starts = random.integers(0, len(source) // 8, count)
    return [
        text_of(tokenizer, "", source[start:], int(length))
        for start, length in zip(starts, lengths, strict=True)
    ]


def make_contenders(checkpoint: Checkpoint, tokenizer: Tokenizer) -> dict[str, Embed]:
    """By name: this engine at each token budget, sentence-transformers at each dtype and batch size."""
    runner = ModelRunner.load(checkpoint, dtype="auto", threads=0)
    contenders: dict[str, Embed] = {
        f"gemwire {runner.dtype_name} budget {budget}": packed(runner, tokenizer, budget)
        for budget in BUDGETS
    }
    for dtype in (torch.bfloat16, torch.float32):
        model = SentenceTransformer(
            str(checkpoint.path), device="cpu", model_kwargs={"dtype": dtype}
        )
        for size in BATCH_SIZES:
            name = f"st {str(dtype).removeprefix('torch.')} batch {size}"
            contenders[name] = padded(model, size)
    return contenders


def packed(runner: ModelRunner, tokenizer: Tokenizer, budget: int) -> Embed:
    """The engine's own way: token ids, batches as the scheduler forms them, the runner."""

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        scheduler = Scheduler(
            max_batch_tokens=budget, max_queue_tokens=1 << 30, clock=time.monotonic
        )
        owner = Submission(deliver=lambda results: None)
        scheduler.add([Item(owner, i, tokenizer.encode(text).ids) for i, text in enumerate(texts)])
        parts = []
        while len(scheduler):
            batch, _ = scheduler.next_batch()
            parts.append(runner.run(pack([item.input_ids for item in batch])))
        return np.concatenate(parts)

    return embed


def padded(model: SentenceTransformer, batch_size: int) -> Embed:
    """sentence-transformers' own way."""

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = model.encode(
            list(texts), batch_size=batch_size, convert_to_tensor=True, show_progress_bar=False
        )
        result: NDArray[np.float32] = vectors.float().numpy()
        return result

    return embed


def single_query(contenders: dict[str, Embed]) -> list[str]:
    """One of each kind: budget and batch size do not matter to a single text."""
    return [name for name in contenders if name.endswith((f"budget {BUDGETS[0]}", "batch 1"))]


def ratios(rates: dict[str, list[float]], latencies: dict[str, list[float]]) -> dict[str, float]:
    """This engine as it is served over the best of sentence-transformers in each dtype."""
    served = f"budget {ModelRunner.batch_tokens}"
    ours = next(name for name in rates if name.endswith(served))
    ours_single = next(name for name in latencies if name.startswith("gemwire") and latencies[name])
    found = {}
    for dtype in ("bfloat16", "float32"):
        rivals = [name for name in rates if name.startswith(f"st {dtype}")]
        rival = max(rivals, key=lambda name: statistics.median(rates[name]))
        found[f"tokens/s, {ours} over {rival}"] = median_ratio(rates[ours], rates[rival])
        single = f"st {dtype} batch 1"
        found[f"query ms, gemwire over st {dtype}"] = median_ratio(
            latencies[ours_single], latencies[single]
        )
    return found


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def seconds(embed: Embed, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    embed(texts)
    return time.perf_counter() - started


def report(result: dict[str, object], rates: dict[str, list[float]]) -> None:
    tokens_per_second, query_ms = result["tokens_per_second"], result["query_ms"]
    assert isinstance(tokens_per_second, dict) and isinstance(query_ms, dict)
    print(f"{'':32} {'tokens/s':>9} {'min':>7} {'max':>7} {'query ms':>9}")
    for name, rate in tokens_per_second.items():
        query = f"{query_ms[name]:9.1f}" if name in query_ms else ""
        print(f"{name:32} {rate:9.0f} {min(rates[name]):7.0f} {max(rates[name]):7.0f} {query}")
    ratios = result["ratios"]
    assert isinstance(ratios, dict)
    for name, value in ratios.items():
        print(f"{value:6.2f}  {name}")


def progress(what: str) -> None:
    if sys.stderr.isatty():
        print(what, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
