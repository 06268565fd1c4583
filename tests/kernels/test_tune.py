"""What `gemwire tune` tries, chooses and writes; its measuring needs a GPU."""

import json
from pathlib import Path

import pytest

pytest.importorskip("triton")

from gemwire_kernels.gpu.candidates import (
    attention_candidates,
    best_size,
    better,
    matmul_candidates,
)
from gemwire_kernels.gpu.tiles import (
    AttentionTile,
    MatmulTile,
    TileSet,
    find_table,
    merge,
    to_entry,
)
from gemwire_kernels.gpu.workbench import lengths_of, mixed_lengths

HOPPER = 232448
TABLE = find_table("a card nobody has", HOPPER, "bfloat16")


def tile(**changes: int) -> MatmulTile:
    sizes = {"block_m": 64, "block_n": 32, "block_k": 64, "num_warps": 4, "num_stages": 4}
    return MatmulTile(**(sizes | changes))


@pytest.mark.parametrize("half_head", [0, 128])
@pytest.mark.parametrize("tokens", [16, 64, 128, 16896])
def test_matmul_candidates_fit(half_head: int, tokens: int) -> None:
    default = TABLE.sets[-1].qkv if half_head else TABLE.sets[-1].linear
    found = matmul_candidates(default, tokens, HOPPER, 2, half_head)
    assert 2 < len(found) == len(set(found)) < 200 and found[0] == default
    for candidate in found[1:]:
        columns = 2 * (candidate.block_n or half_head)
        used = (candidate.block_m + columns) * candidate.block_k * 2 * candidate.num_stages
        assert candidate.at_once or 64 <= candidate.block_m <= max(64, tokens)
        assert used * candidate.per_multiprocessor <= HOPPER
    assert any(candidate.block_n == 0 for candidate in found) is bool(half_head)
    assert any(candidate.at_once for candidate in found) is (tokens <= 64)
    assert len({candidate.block_k for candidate in found}) > 1


def test_attention_candidates_fit_and_begin_with_the_default() -> None:
    default = TABLE.sets[0].attention
    found = attention_candidates(default, 256, HOPPER, 2)
    assert found[0] == default and 5 < len(found) == len(set(found)) < 40
    for t in found:
        used = (t.block_m + 2 * t.num_stages * t.block_n) * 256 * 2
        assert used * t.per_multiprocessor <= HOPPER


def test_a_small_card_has_candidates_too() -> None:
    table = find_table("a small card", 101376, "float32")
    default = table.sets[0].linear
    assert matmul_candidates(default, 16896, 101376, 4)[0] == default
    assert attention_candidates(table.sets[0].attention, 256, 101376, 4)


def test_the_default_stays_unless_another_is_clearly_better() -> None:
    default, other = tile(), tile(block_n=64)
    assert better(default, {default: 1.00, other: 0.99}) == default
    assert better(default, {default: 1.00, other: 0.90}) == other
    assert better(default, {other: 2.0}) == other  # the default does not work here
    assert better(default, {}) is None


def test_attention_has_one_size_and_stages_of_each_batch() -> None:
    """The best in the mean, each size by its own best stages; stages change no bits."""
    default = AttentionTile(block_m=128, block_n=64, num_warps=8, num_stages=2)
    few, more = (
        AttentionTile(block_m=64, block_n=64, num_warps=4, num_stages=stages) for stages in (1, 2)
    )
    assert few.size == more.size != default.size
    fast = {default: 1.0, few: 0.5, more: 4.0}, {default: 1.0, few: 4.0, more: 0.5}
    assert best_size(default, fast) == few.size
    assert best_size(default, [{default: 1.0, few: 0.99}]) == default.size
    assert best_size(default, [{}]) is None


def test_a_written_file_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "tiles.json"
    attention = AttentionTile(block_m=64, block_n=32, num_warps=4, num_stages=2)
    sets = [
        TileSet(
            qkv=tile(block_n=0), linear=tile(), gate_up=tile(), attention=attention, max_tokens=m
        )
        for m in (128, None)
    ]
    merge(path, to_entry(sets, "card", "bfloat16"))
    merge(path, to_entry(sets[1:], "other card", "bfloat16"))
    merge(path, to_entry(sets, "card", "bfloat16"))  # replaces its own, keeps the other's
    assert len(json.loads(path.read_text())["measured"]) == 2
    found = find_table("card", HOPPER, "bfloat16", extra=path)
    assert found.sets == tuple(sets) and "measured on card" in found.source
    assert find_table("other card", HOPPER, "bfloat16", extra=path).sets == tuple(sets[1:])
    assert "not measured" in find_table("card", HOPPER, "float32", extra=path).source
    path.write_text("[]")
    with pytest.raises(ValueError, match="no table of tiles"):
        merge(path, to_entry(sets, "card", "bfloat16"))


@pytest.mark.parametrize("tokens", [16, 512, 5632, 16896])
def test_lengths_sum_to_the_tokens(tokens: int) -> None:
    for lengths in (lengths_of(tokens, 128), lengths_of(tokens, 2048), mixed_lengths(tokens)):
        assert lengths.sum() == tokens and lengths.min() >= 1
    assert (mixed_lengths(tokens) == mixed_lengths(tokens)).all()
