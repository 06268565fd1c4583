"""Measures the cost of gRPC: a server process at saturation against the engine alone.

The same texts of mixed lengths, in turns: through one EmbedStream; as unary calls of concurrent callers;
each from a server with its engine in a process of its own and from one with its engine in a thread; and as
token ids straight into the engine, in this process. Client and server share the cores. The vectors are
first checked to be the same.

    python benchmarks/grpc_overhead.py [--model DIR] [--rounds 5] [--texts 192] [--callers 64]
        [--output FILE]

Prints a table; the last line is JSON, which --output also writes to a file.
"""

import argparse
import asyncio
import json
import statistics
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from environment import environment, full_checkpoint
from gemwire_client import AsyncClient, Client
from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.interface import Results, Submission
from gemwire_server.engine.packing import TokenIds
from gemwire_server.engine.thread_engine import ThreadEngine
from gemwire_server.runners.cpu import CpuRunner
from measure import median_ratio, progress, seconds, turns
from server_process import server_process
from workloads import mixed_texts

# A text's neighbours in its batch differ, and with them the last bits of its vector.
AGREEMENT = 1e-3
ENGINES = ("process", "thread")
GOALS = {
    f"{kind}: {way}": goal
    for kind in ENGINES
    for way, goal in (("EmbedStream", 0.95), ("unary", 0.90))
}

Vectors = NDArray[np.float32]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", help="checkpoint folder; default: a seeded one of the full geometry"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    checkpoint = open_checkpoint(args.model or str(full_checkpoint()))
    tokenizer = checkpoint.load_tokenizer()
    texts = mixed_texts(tokenizer, args.texts, args.seed)
    sequences = [tokenizer.encode(text).ids for text in texts]
    tokens = sum(map(len, sequences))
    config = ServerConfig(model=str(checkpoint.path))
    runner = CpuRunner.load(checkpoint, dtype=config.dtype, threads=config.threads)
    engine = ThreadEngine(
        runner,
        max_batch_tokens=runner.batch_tokens,
        max_queue_tokens=tokens + config.max_queue_tokens,
    )
    try:
        with ExitStack() as servers:
            ways: dict[str, Callable[[], Vectors]] = {"engine": lambda: alone(engine, sequences)}
            for kind in ENGINES:
                server = servers.enter_context(server_process(checkpoint.path, "--engine", kind))
                client = servers.enter_context(Client(server.address))
                ways[f"{kind}: EmbedStream"] = partial(stream, client, texts)
                ways[f"{kind}: unary"] = partial(callers, server.address, texts, args.callers)
            rates = measure(ways, tokens, args.rounds)
    finally:
        engine.close()
    result = {
        "benchmark": "grpc_overhead",
        "model": checkpoint.name,
        "texts": len(texts),
        "tokens": tokens,
        "callers": args.callers,
        "rounds": args.rounds,
        "seed": args.seed,
        "tokens_per_second": rates,
        "ratios": {name: median_ratio(rates[name], rates["engine"]) for name in GOALS},
        "environment": environment(),
    }
    report(rates)
    line = json.dumps(result)
    if args.output:
        args.output.write_text(line + "\n")
    print(line)
    return 0


def measure(
    ways: dict[str, Callable[[], Vectors]], tokens: int, rounds: int
) -> dict[str, list[float]]:
    """Returns tokens/s of each way in each round, after each way has given the same vectors."""
    progress("checking")
    truth = ways["engine"]()
    for name, way in ways.items():
        distance = float((1 - (way() * truth).sum(1)).max())
        if not distance <= AGREEMENT:
            raise SystemExit(f"{name} gives other vectors: 1 - cos up to {distance:.1e}")
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        for name in turns(list(ways), number):
            rates[name].append(tokens / seconds(ways[name]))
    return rates


def alone(engine: ThreadEngine, sequences: Sequence[TokenIds]) -> Vectors:
    """Submits all texts at once to the engine, without a server."""
    vectors: dict[int, NDArray[np.float32]] = {}
    answered, done = 0, threading.Event()

    def deliver(results: Results) -> None:
        nonlocal answered
        if results.vectors is not None:
            vectors.update(zip(results.indices, results.vectors, strict=True))
        answered += len(results.indices)
        if answered == len(sequences):
            done.set()

    engine.submit(sequences, Submission(deliver))
    done.wait()
    return np.stack([vectors[i] for i in range(len(sequences))])


def stream(client: Client, texts: Sequence[str]) -> Vectors:
    return np.stack(list(client.embed_iter(texts)))


def callers(address: str, texts: Sequence[str], count: int) -> Vectors:
    return asyncio.run(unary(address, texts, count))


async def unary(address: str, texts: Sequence[str], callers: int) -> Vectors:
    """Sends unary calls: each caller takes the next text that no caller has taken."""
    vectors: dict[int, NDArray[np.float32]] = {}
    waiting = iter(enumerate(texts))
    async with AsyncClient(address) as client:

        async def call() -> None:
            for i, text in waiting:
                vectors[i] = np.asarray(await client.embed(text), np.float32)

        await asyncio.gather(*(call() for _ in range(callers)))
    return np.stack([vectors[i] for i in range(len(texts))])


def report(rates: dict[str, list[float]]) -> None:
    print(f"{'':20} {'tokens/s':>9} {'min':>7} {'max':>7}  of the engine alone")
    for name, values in rates.items():
        print(
            f"{name:20} {statistics.median(values):9.0f} {min(values):7.0f} {max(values):7.0f}",
            end="",
        )
        if (goal := GOALS.get(name)) is not None:
            ratio = median_ratio(values, rates["engine"])
            print(f"  {ratio:.1%} (>= {goal:.0%}: {'met' if ratio >= goal else 'MISSED'})", end="")
        print()


if __name__ == "__main__":
    sys.exit(main())
