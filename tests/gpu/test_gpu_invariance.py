"""A text's vector has the same bits whatever is beside it, and in every bucket."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gemwire_server.engine.packing import TokenIds, pack
from gpu.runners import Vectors, alone, assert_same_bits, random_ids

if TYPE_CHECKING:
    from gemwire_server.runners.cuda import CudaRunner

LENGTHS = (1, 2, 21, 42, 43, 64, 65, 128, 200, 256, 257, 258, 300, 513, 1000)
BUDGET = 5632


@pytest.fixture(scope="module", params=["tiny", "full"])
def runner(request: pytest.FixtureRequest) -> "CudaRunner":
    found: CudaRunner = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def ids(runner: "CudaRunner") -> list[TokenIds]:
    return random_ids(LENGTHS, runner, seed=1)


@pytest.fixture(scope="module")
def expected(runner: "CudaRunner", ids: list[TokenIds]) -> Vectors:
    return alone(runner, ids)


def filler(runner: "CudaRunner", tokens: int, seed: int) -> list[TokenIds]:
    """Texts of every size that are `tokens` together."""
    lengths: list[int] = []
    random = np.random.default_rng(seed)
    while (left := tokens - sum(lengths)) > 0:
        lengths.append(min(left, int(random.integers(1, 600))))
    return random_ids(lengths, runner, seed)


def test_among_others_in_any_order(
    runner: "CudaRunner", ids: list[TokenIds], expected: Vectors
) -> None:
    assert_same_bits(runner.run(pack(ids)), expected)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(ids))
        assert_same_bits(runner.run(pack([ids[i] for i in order])), expected[order])


@pytest.mark.parametrize("neighbour", [1, 2048])
def test_before_and_behind_a_neighbour(
    neighbour: int, runner: "CudaRunner", ids: list[TokenIds], expected: Vectors
) -> None:
    (other,) = random_ids((neighbour,), runner, seed=2)
    for sequence, vector in zip(ids, expected, strict=True):
        assert_same_bits(runner.run(pack([other, sequence]))[1:], vector[None])
        assert_same_bits(runner.run(pack([sequence, other]))[:1], vector[None])


def test_behind_every_number_of_tokens(runner: "CudaRunner") -> None:
    """Whatever its place in a tile of 64 or 128 rows."""
    (text,) = random_ids((70,), runner, seed=3)
    (before,) = random_ids((128,), runner, seed=4)
    expected = runner.run(pack([text]))
    for offset in range(1, 129):
        assert_same_bits(runner.run(pack([before[:offset], text]))[1:], expected)


def test_alone_in_the_smallest_bucket_and_in_a_full_one(
    runner: "CudaRunner", ids: list[TokenIds], expected: Vectors
) -> None:
    room = BUDGET - sum(map(len, ids))
    others = filler(runner, room, seed=5)
    assert_same_bits(runner.run(pack([*ids, *others]))[: len(ids)], expected)
    assert_same_bits(runner.run(pack([*others, *ids]))[len(others) :], expected)


def test_in_every_bucket(runner: "CudaRunner") -> None:
    from gemwire_server.runners.cuda import BUCKETS

    ids = random_ids((9,), runner, seed=6)
    expected = runner.run(pack(ids))
    for size in BUCKETS:
        if size <= BUDGET:
            full = pack([*ids, *filler(runner, size - 9, seed=size)])
            assert full.num_tokens == size
            assert_same_bits(runner.run(full)[:1], expected)


def test_a_neighbour_of_other_tokens(
    runner: "CudaRunner", ids: list[TokenIds], expected: Vectors
) -> None:
    for i in range(0, len(ids), 3):
        changed = list(ids)
        changed[i] = changed[i] ^ 1
        vectors = runner.run(pack(changed))
        assert (vectors[i] != expected[i]).any()
        others = [j for j in range(len(ids)) if j != i]
        assert_same_bits(vectors[others], expected[others])


def test_longest_texts_side_by_side(runner: "CudaRunner") -> None:
    ids = random_ids((2048, 2047, 1537), runner, seed=7)
    assert_same_bits(runner.run(pack(ids)), alone(runner, ids))
