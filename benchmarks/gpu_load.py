"""Makes what the parts of `make gpu` run: the served engine, token ids, and batches with two under way."""

import argparse
import gc
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from gemwire_server.checkpoints import Checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.packing import TokenIds, pack
from gemwire_server.runners.cuda import CudaRunner
from peers.gemwire import batches

Vectors = np.ndarray[Any, np.dtype[np.float32]]
Embed = Callable[[Sequence[TokenIds]], Vectors]


@dataclass(frozen=True)
class Served:
    """What is measured: `budgets` are tokens of a step, the served default first; `lengths` are tokens of
    a text in bulk, `alone` of one text by itself; `mixes` names the lengths of one batch of texts each."""

    base: ServerConfig
    budgets: tuple[int, ...]
    lengths: tuple[int, ...]
    query: int
    alone: tuple[int, ...]
    mixes: dict[str, Sequence[int]]

    def config(self, **changes: Any) -> ServerConfig:
        return replace(self.base, **changes)


def served(args: argparse.Namespace) -> Served:
    """Returns the sizes of the goals, or in a dry run sizes that the interpreter can do."""
    base = ServerConfig(model="any", device="cuda", tile_table=str(args.tile_table or ""))
    random = np.random.default_rng(0)
    if args.dry_run:
        return Served(base, (16, 40), (4, 8, 16), 16, (8,), {"lognormal": [9, 2], "other": [3]})
    mixes = {
        "lognormal": np.clip(random.lognormal(np.log(40), 0.9, 2048), 8, 600).astype(int),
        "queries and passages": random.permutation(
            np.concatenate([random.integers(8, 33, 512), random.integers(200, 513, 512)])
        ),
    }
    return Served(
        base, (5632, 11264, 16896), (128, 512, 2048), 16, (64, 128, 512, 1024), _lists(mixes)
    )


def _lists(mixes: dict[str, Any]) -> dict[str, Sequence[int]]:
    return {name: lengths.tolist() for name, lengths in mixes.items()}


def load(checkpoint: Checkpoint, config: ServerConfig) -> CudaRunner:
    """As it is served, with nothing held by those before. Raises DeviceError where the kernels do not run
    or give other vectors than plain PyTorch."""
    gc.collect()
    torch.cuda.empty_cache()
    runner = CudaRunner.load(checkpoint, config, torch.device("cuda:0"))
    runner.warm_up(config.max_batch_tokens)
    return runner


def random_ids(
    lengths: Iterable[int], vocabulary: int, random: np.random.Generator
) -> list[TokenIds]:
    return [random.integers(0, vocabulary, length, dtype=np.int32) for length in lengths]


def packed(runner: CudaRunner, budget: int) -> Embed:
    """The scheduler's batches, two under way, as `ThreadEngine` has them."""

    def embed(texts: Sequence[TokenIds]) -> Vectors:
        under_way: deque[Callable[[], Vectors]] = deque()
        parts = []
        for sequences in batches(texts, budget):
            if len(under_way) == runner.depth:
                parts.append(under_way.popleft()())
            under_way.append(runner.start(pack(sequences)))
        return np.concatenate([*parts, *(wait() for wait in under_way)])

    return embed


def timed(embed: Embed, texts: Sequence[TokenIds]) -> float:
    started = time.perf_counter()
    embed(texts)
    return time.perf_counter() - started
