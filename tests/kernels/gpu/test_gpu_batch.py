"""The block of a batch: the tile list by brute force, its limits, and what an earlier batch left."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from gemwire_kernels.gpu import Block
from support.kernels.setting import CUDA, DEVICE, arrays, make_ops, placed

RNG = np.random.default_rng(0)
LENGTHS = [
    [],
    [0],
    [0, 5, 0],
    [1],
    [1] * 9,
    [1] * 4096,
    [2, 15, 16, 17],
    [20, 21, 22, 41, 42, 43, 63, 64, 65, 84, 85],
    [31, 32, 33, 127, 128, 129],
    [255, 256, 257, 258, 259, 511, 512, 513, 514],
    [1023, 2047, 2048],
    [1, 2048, 0, 1],
    [2048] * 8,
    [0] * 7,
    RNG.integers(0, 300, 90).tolist(),
]


@pytest.mark.parametrize("heads,kv_heads", [(3, 1), (4, 2), (2, 2), (1, 1), (4, 1)])
@pytest.mark.parametrize("tile", [(16, 16), (64, 32), (128, 64)])
@pytest.mark.parametrize("lengths", LENGTHS, ids=[str(lengths)[:20] for lengths in LENGTHS])
def test_tiles_cover_each_token_and_head_once(
    lengths: list[int], tile: tuple[int, int], heads: int, kv_heads: int
) -> None:
    """Rows of tiles as attention reads them, written out."""
    ops = make_ops(heads, kv_heads, tile=tile)
    batch = placed(ops, lengths)
    plan = batch.plan
    group, block_m = heads // kv_heads, plan.tiles.attention.block_m
    tokens, texts, tiles, nothing = plan.counts.tolist()
    assert (tokens, texts, nothing) == (sum(lengths), len(lengths), 0)
    assert tiles <= len(plan.tile_text) == len(plan.tile_row)

    begin = batch.cu_seqlens.cpu().numpy()
    text = plan.tile_text[:tiles].cpu().numpy()[:, None]
    row = plan.tile_row[:tiles].cpu().numpy()[:, None] + np.arange(block_m)
    real = row < (begin[text + 1] - begin[text]) * group
    assert real[:, 0].all(), "a tile without tokens"
    seen = np.zeros((tokens, group), dtype=int)
    np.add.at(seen, ((begin[text] + row // group)[real], (row % group)[real]), 1)
    assert (seen == 1).all()

    # And by text, as pooling adds them: in order, as few as hold its rows, none of them a neighbour's.
    cu_tiles = plan.cu_tiles[: texts + 1].tolist()
    assert (cu_tiles[0], cu_tiles[-1]) == (0, tiles)
    for number in range(texts):
        own = slice(cu_tiles[number], cu_tiles[number + 1])
        assert (text[own] == number).all()
        first = np.arange(0, lengths[number] * group, block_m)
        assert plan.tile_row[own].tolist() == first.tolist()


def test_places_what_it_is_given() -> None:
    ops = make_ops(3, 1)
    batch = ops.place(*arrays([2, 0, 3], ids=[9, 8, 7, 6, 5]))
    assert batch.input_ids.tolist() == [9, 8, 7, 6, 5]
    assert batch.positions.tolist() == [0, 1, 0, 1, 2]
    assert batch.cu_seqlens[:4].tolist() == [0, 2, 2, 5]
    assert {t.dtype for t in batch[:3]} == {torch.int32}
    assert {t.device.type for t in batch[:3]} == {DEVICE.type}


def test_places_no_text_and_more_texts_than_tokens() -> None:
    ops = make_ops(3, 1)
    assert ops.place(*arrays([])).plan.counts.tolist() == [0, 0, 0, 0]
    assert ops.place(*arrays([0] * 5 + [1])).plan.counts.tolist() == [1, 6, 1, 0]


@pytest.mark.parametrize("lengths", [[8], [7], [1] * 8, [1], [], [0] * 8, [0, 8]])
def test_a_block_takes_all_that_fits(lengths: list[int]) -> None:
    block = make_ops(3, 1).block(8)
    block.fill(block.host(), *arrays(lengths))


@pytest.mark.parametrize("lengths", [[9], [1] * 9, [0] * 9, [4, 5], [0, 0, 2000]])
def test_a_block_refuses_what_does_not_fit(lengths: list[int]) -> None:
    """Before a word is written: the host's memory still holds the batch that was there."""
    block = make_ops(3, 1).block(8)
    host = block.host()
    block.fill(host, *arrays([3, 2]))
    kept = host.clone()
    with pytest.raises(ValueError, match="do not fit 8"):
        block.fill(host, *arrays(lengths))
    assert torch.equal(host, kept)


def test_sections_do_not_overlap_and_are_aligned() -> None:
    for capacity in (1, 2, 3, 4, 5, 64, 5632):
        batch = make_ops(3, 1).block(capacity).batch
        parts = [*batch[:3], *batch.plan[-4:]]
        starts = [part.data_ptr() for part in parts]
        assert all(start % 16 == 0 for start in starts)
        spans = sorted((t.data_ptr(), t.data_ptr() + 4 * t.numel()) for t in parts)
        assert all(left[1] <= right[0] for left, right in pairwise(spans))
        assert len(batch.cu_seqlens) == capacity + 1 and len(batch.input_ids) == capacity


def test_a_shorter_batch_after_a_longer_one_shows_nothing_of_it() -> None:
    block = make_ops(3, 1).block(64)
    host = block.host()
    filled: list[Block] = []
    for lengths in ([30, 30], [1] * 60, [2, 0, 1], [], [64], [5]):
        block.fill(host, *arrays(lengths, ids=list(range(sum(lengths)))))
        block.upload(host)
        fresh = make_ops(3, 1).block(64)
        again = fresh.host()
        fresh.fill(again, *arrays(lengths, ids=list(range(sum(lengths)))))
        fresh.upload(again)
        filled.append(fresh)
        tokens, texts, tiles, _ = block.batch.plan.counts.tolist()
        sizes = [tokens, tokens, texts + 1, 4, texts + 1, tiles, tiles]
        ours = [*block.batch[:3], *block.batch.plan[-4:]]
        theirs = [*fresh.batch[:3], *fresh.batch.plan[-4:]]
        for size, one, two in zip(sizes, ours, theirs, strict=True):
            assert torch.equal(one[:size], two[:size])


def test_the_host_block_is_pinned_where_that_helps() -> None:
    assert make_ops(3, 1).block(8).host().is_pinned() is CUDA


def test_a_grid_is_never_empty_and_never_larger_than_the_work() -> None:
    plan = make_ops(3, 1).block(8).batch.plan
    assert plan.programs(0) == (1,)
    assert plan.programs(1) == (1,)
    assert plan.programs(10**6) == (plan.multiprocessors,)
    assert plan.programs(10**6, 4) == (4 * plan.multiprocessors,)
