"""Runners on the first GPU, and texts for them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.packing import TokenIds, pack
from gemwire_server.engine.thread_engine import ThreadEngine
from gemwire_server.runners.choose import load_runner

if TYPE_CHECKING:
    from gemwire_server.runners.cuda import CudaRunner

Vectors = NDArray[np.float32]


def load(checkpoint: Path, **options: Any) -> "CudaRunner":
    """Warmed up, with the defaults that a server has."""
    from gemwire_server.runners.cuda import CudaRunner

    config = ServerConfig(model=str(checkpoint), device="cuda", **options)
    runner = load_runner(open_checkpoint(config.model), config)
    assert isinstance(runner, CudaRunner)
    return runner


@contextmanager
def engine_on(runner: "CudaRunner", **options: Any) -> Iterator[ThreadEngine]:
    """Closed whatever happens: its threads would keep a failed test's process alive."""
    engine = ThreadEngine(
        runner, **({"max_batch_tokens": 5632, "max_queue_tokens": 1 << 20} | options)
    )
    try:
        yield engine
    finally:
        engine.close()


def random_ids(lengths: Sequence[int], runner: "CudaRunner", seed: int) -> list[TokenIds]:
    random = np.random.default_rng(seed)
    vocabulary = runner.encoder.config.vocab_size
    return [random.integers(0, vocabulary, length, dtype=np.int32) for length in lengths]


def alone(runner: "CudaRunner", ids: Sequence[TokenIds]) -> Vectors:
    """Each text in a batch of its own, in the smallest bucket that takes it."""
    return np.concatenate([runner.run(pack([sequence])) for sequence in ids])


def assert_same_bits(found: Vectors, expected: Vectors) -> None:
    """Says by how much they differ, and where, if they do."""
    assert found.shape == expected.shape and np.isfinite(expected).all()
    different = np.flatnonzero((found != expected).any(axis=1))
    largest = np.abs(found - expected).max(initial=0)
    assert not different.size, f"rows {different.tolist()} differ, by up to {largest:.1e}"
