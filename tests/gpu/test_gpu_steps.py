"""Steps one after the other and two at a time: nothing of one is in another."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from gemwire_server.engine.interface import Observer, Submission
from gemwire_server.engine.packing import pack
from gemwire_server.engine.scheduler import Item
from gemwire_server.models.gemma3.encoder import Encoder
from gpu.runners import Vectors, alone, assert_same_bits, engine_on, load, random_ids
from support.fake_runner import Caller

if TYPE_CHECKING:
    from gemwire_server.runners.cuda import CudaRunner

MEMORY_LIMIT = 3e9


def test_a_thousand_replays_have_the_same_bits(full: "CudaRunner") -> None:
    """A moving bit would be a race."""
    batch = pack(random_ids((1, 16, 43, 64, 130, 258, 511), full, seed=1))
    expected = full.run(batch)
    for _ in range(1000):
        assert_same_bits(full.run(batch), expected)


def test_a_large_step_replayed(full: "CudaRunner") -> None:
    batch = pack(random_ids((2048, 1536, 512, 512, 512, 256, 256), full, seed=2))
    expected = full.run(batch)
    for _ in range(100):
        assert_same_bits(full.run(batch), expected)


@pytest.mark.parametrize(
    ("size", "lengths"),
    [(64, (33, 2)), (512, (257, 2)), (2048, (1025, 2)), (5632, (2048, 780))],
    ids=str,
)
def test_a_shorter_batch_after_a_longer_one(
    size: int, lengths: tuple[int, ...], full: "CudaRunner"
) -> None:
    """In one bucket: what the longer one left is not seen."""
    shorter = pack(random_ids(lengths, full, seed=3))
    longer = random_ids([7] * (size // 7), full, seed=size)
    expected = full.run(shorter)
    assert_same_bits(full.run(pack(longer))[-1:], full.run(pack(longer[-1:])))
    full.run(pack(longer))
    assert_same_bits(full.run(shorter), expected)


def test_the_least_batch_after_a_full_one(full: "CudaRunner") -> None:
    least = pack(random_ids((1,), full, seed=5))
    full_batch = pack(random_ids([1] * 64, full, seed=6))
    expected = full.run(least)
    full.run(full_batch)
    assert_same_bits(full.run(least), expected)


def test_the_longest_texts_after_the_shortest(full: "CudaRunner") -> None:
    longest = pack(random_ids((2048, 2048, 1536), full, seed=7))
    expected = full.run(longest)
    full.run(pack(random_ids([1] * 5632, full, seed=8)))
    assert_same_bits(full.run(longest), expected)


@pytest.mark.parametrize("size", [1000, 2041, 2048, 2049, 2055, 6000])
def test_any_budget_warms_up(size: int, tiny_checkpoint: Path) -> None:
    runner = load(tiny_checkpoint, max_batch_tokens=size)
    lengths = [2048] * (size // 2048) + [size % 2048] * bool(size % 2048)
    assert np.isfinite(runner.run(pack(random_ids(lengths, runner, seed=9)))).all()


def test_graphs_change_nothing(full: "CudaRunner", full_checkpoint: Path) -> None:
    eager = load(full_checkpoint, cuda_graphs=False)
    for lengths in ((1,), (64,), (65, 3), (300, 258), (2048,), (2048, 2048, 1536), [3] * 800):
        batch = pack(random_ids(lengths, full, seed=10))
        assert_same_bits(full.run(batch), eager.run(batch))


def test_two_steps_under_way(full: "CudaRunner") -> None:
    """In the same bucket and in different ones, as one by one; and what was returned stays as it was."""
    batches = [
        pack(random_ids(lengths, full, seed=20 + i))
        for i, lengths in enumerate([(700, 40), (9,), (650, 90), (2048, 2048), (5,), (30, 30)] * 4)
    ]
    expected = [full.run(batch) for batch in batches]
    found: list[Vectors] = []
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        waits = full.start(first), full.start(second)
        found += [wait() for wait in waits]
    kept = [vectors.copy() for vectors in found]
    for batch in batches:
        full.run(batch)
    for vectors, copy, right in zip(found, kept, expected, strict=True):
        assert_same_bits(vectors, copy)
        assert_same_bits(vectors, right)


def test_steps_begun_in_one_thread_and_ended_in_another(full: "CudaRunner") -> None:
    batch = pack(random_ids((100, 3), full, seed=11))
    expected, found = full.run(batch), []
    wait = full.start(batch)
    thread = threading.Thread(target=lambda: found.append(wait()))
    thread.start()
    thread.join()
    assert_same_bits(found[0], expected)


class Steps(Observer):
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def begun(self, items: Sequence[Item]) -> None:
        self.sizes.append(len(items))


def test_an_engine_under_many_threads(full: "CudaRunner") -> None:
    """Each text its own vector, bit by bit, whatever step it came into."""
    random = np.random.default_rng(12)
    lengths = np.minimum(2048, random.lognormal(3.7, 1.2, 300).astype(int) + 1)
    ids = random_ids(lengths.tolist(), full, seed=13)
    expected = alone(full, ids)
    steps = Steps()
    wrong: list[int] = []

    def client(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(60):
            chosen = random.integers(0, len(ids), random.integers(1, 30))
            rows = np.zeros((len(chosen), expected.shape[1]), np.float32)
            caller = Caller(len(chosen))
            engine.submit([ids[i] for i in chosen], caller.submission)
            assert caller.done.wait(60)
            for part in caller.results:
                if part.vectors is not None:
                    rows[part.indices] = part.vectors
            wrong.extend(chosen[(rows != expected[chosen]).any(axis=1)])

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(16)]
    with engine_on(full, observer=steps) as engine:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"{sum(steps.sizes)} texts in {len(steps.sizes)} steps")
    assert wrong == [] and len(steps.sizes) < sum(steps.sizes)


def set_row(embedding: torch.Tensor, value: torch.Tensor | float) -> None:
    with torch.inference_mode():
        embedding[5] = value
    torch.cuda.synchronize()  # the runner's stream does not wait for this one


def test_a_text_that_gives_nan_fails_alone(tiny: "CudaRunner") -> None:
    """Its neighbours' vectors keep every bit, in its step and in those after it."""
    texts = random_ids((300, 17, 43, 2, 600), tiny, seed=14)
    for ids in texts:
        ids[ids == 5] = 6
    texts[2][3] = 5
    encoder = tiny.encoder
    assert isinstance(encoder, Encoder)
    embedding = encoder.weights.embed_tokens
    before = embedding[5].clone()
    others = [0, 1, 3, 4]
    expected = alone(tiny, [texts[i] for i in others])
    set_row(embedding, float("nan"))
    try:
        for _ in range(3):
            vectors = tiny.run(pack(texts))
            assert np.isnan(vectors[2]).all()
            assert_same_bits(vectors[others], expected)
        assert_same_bits(alone(tiny, [texts[i] for i in others]), expected)
        caller = Caller(len(texts))
        with engine_on(tiny) as engine:
            engine.submit(texts, caller.submission)
            assert sorted(caller.vectors()) == others and list(caller.errors()) == [2]
    finally:
        set_row(embedding, before)


def test_a_batch_over_every_bucket_is_refused(tiny: "CudaRunner") -> None:
    with pytest.raises(ValueError, match="no bucket"):
        tiny.run(pack(random_ids([2048] * 3, tiny, seed=15)))
    caller, healthy = Caller(4), Caller(1)
    with engine_on(tiny, max_batch_tokens=1 << 14) as engine:
        engine.submit(random_ids([2048] * 4, tiny, seed=16), caller.submission)
        assert len(caller.errors()) == 4
        engine.submit(random_ids([20], tiny, seed=17), healthy.submission)
        assert len(healthy.vectors()) == 1


def test_cancelled_work_holds_nothing_up(full: "CudaRunner") -> None:
    gone, caller = Submission(lambda results: None), Caller(1)
    with engine_on(full) as engine:
        engine.submit(random_ids([2048] * 50, full, seed=18), gone)
        gone.cancelled = True
        engine.submit(random_ids([8], full, seed=19), caller.submission)
        assert len(caller.vectors()) == 1


def test_memory_is_bounded(full_checkpoint: Path) -> None:
    """Weights, graphs and buffers at the default buckets; counted from what was there before."""
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    runner = load(full_checkpoint)
    held = torch.cuda.memory_reserved() - before
    for seed in range(3):
        runner.run(pack(random_ids((2048, 2048, 1536), runner, seed)))
    assert torch.cuda.memory_reserved() - before == held
    print(f"{held / 1e9:.2f} GB")
    assert held <= MEMORY_LIMIT
