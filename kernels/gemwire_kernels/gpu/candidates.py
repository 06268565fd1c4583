"""Lists the tiles that `gemwire tune` tries, and selects among the measured ones. Pure: no GPU, no clock.

A matrix operation has one BLOCK_K in all its sizes and attention has one tile, or bits would differ
between batches (see gemwire_kernels.gpu.tiles). So the search is: for each BLOCK_K the best tile of each
size, then the BLOCK_K whose tiles are best together.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple

from gemwire_kernels.gpu.tiles import AttentionTile, MatmulTile, Tile

BLOCK_MS = (64, 128)  # fewer rows are another matrix instruction, with other bits
BLOCK_NS = (16, 32, 64, 128)
ATTENTION_BLOCK_NS = (32, 64, 128)
WARPS = (4, 8)
STAGES = (2, 3, 4, 5, 6, 8, 12)
ATTENTION_STAGES = (1, 2, 3)
PER_MULTIPROCESSOR = (1, 2)
# fp32 a thread in the accumulators; beyond it the epilogue has no registers.
MOST_ACCUMULATORS = 128
MOST_ATTENTION_ACCUMULATORS = 192
# Share of the default's time: a smaller gain is within the spread of two measurements.
WORTH = 0.98
# Bytes of a program beside its operands, for barriers and the epilogue's staging.
RESERVED_BYTES = 2048


def block_ks(tile: MatmulTile) -> tuple[int, ...]:
    """Orders the values of BLOCK_K, the default's first, as there may be time for that one alone."""
    return tile.block_k, 2 * tile.block_k


def matmul_candidates(
    default: MatmulTile, block_k: int, shared_memory: int, element_size: int, half_head: int = 0
) -> list[MatmulTile]:
    """Tiles that may fit, the default or what is like it first.

    `half_head` is qkv_norm_rope's BLOCK_N, which no tile chooses; 0 for the other operations.
    """
    found = []
    for block_m, block_n, num_warps, per in itertools.product(
        BLOCK_MS, (half_head,) if half_head else BLOCK_NS, WARPS, PER_MULTIPROCESSOR
    ):
        if 2 * block_m * block_n > MOST_ACCUMULATORS * 32 * num_warps:
            continue
        stage_bytes = (block_m + 2 * block_n) * block_k * element_size
        most = (shared_memory // per - RESERVED_BYTES) // stage_bytes
        # Deep enough to hide the loads, or the next fewer for what the estimate does not see.
        for num_stages in [stages for stages in STAGES if stages <= most][-2:]:
            tile = MatmulTile(
                block_m=block_m,
                block_n=0 if half_head else block_n,
                block_k=block_k,
                num_warps=num_warps,
                num_stages=num_stages,
                per_multiprocessor=per,
            )
            found.append(tile)
    return _nearest_first(found, default, with_default=block_k == default.block_k)


def attention_candidates(
    default: AttentionTile, head_dim: int, shared_memory: int, element_size: int
) -> list[AttentionTile]:
    """Lists the tiles that may fit, the default first."""
    found = []
    for block_m, block_n, num_warps, stages, per in itertools.product(
        BLOCK_MS, ATTENTION_BLOCK_NS, WARPS, ATTENTION_STAGES, PER_MULTIPROCESSOR
    ):
        if block_m * (head_dim + block_n) > MOST_ATTENTION_ACCUMULATORS * 32 * num_warps:
            continue
        used = (block_m + 2 * stages * block_n) * head_dim * element_size
        if per * (used + RESERVED_BYTES) <= shared_memory:
            tile = AttentionTile(
                block_m=block_m,
                block_n=block_n,
                num_warps=num_warps,
                num_stages=stages,
                per_multiprocessor=per,
            )
            found.append(tile)
    return _nearest_first(found, default, with_default=True)


def better(
    default: Tile | None, seconds: Mapping[Tile, float], worth: float = WORTH
) -> Tile | None:
    """Returns the fastest tile, but the default unless another is clearly faster; None without tiles."""
    if not seconds:
        return None
    fastest = min(seconds, key=seconds.__getitem__)
    if default is not None and default in seconds and seconds[default] * worth <= seconds[fastest]:
        return default
    return fastest


def choose(
    defaults: Sequence[MatmulTile], measured: Mapping[int, Sequence[Mapping[MatmulTile, float]]]
) -> list[MatmulTile]:
    """A tile for each size, all of one BLOCK_K. `measured`: by BLOCK_K and size, seconds of each tile.

    Raises ValueError if no BLOCK_K has a tile for every size.
    """
    found: list[tuple[float, list[MatmulTile]]] = []
    for block_k, sizes in measured.items():
        tiles = [
            better(default, seconds) for default, seconds in zip(defaults, sizes, strict=False)
        ]
        chosen = [tile for tile in tiles if tile is not None]
        if len(chosen) < len(defaults):
            continue
        score = sum(math.log(seconds[tile]) for tile, seconds in zip(chosen, sizes, strict=True))
        if block_k == defaults[0].block_k:  # another one must be worth it too
            score += len(defaults) * math.log(WORTH)
        found.append((score, chosen))
    if not found:
        raise ValueError("no tile gives the same bits in batches of every size")
    return min(found, key=lambda pair: pair[0])[1]


def _nearest_first(found: Iterable[Tile], default: Tile, *, with_default: bool) -> list[Tile]:
    """Sorts by distance from the default, so that a search cut short has seen the likely ones."""

    def steps(tile: Tile) -> float:
        pairs = zip(astuple(tile), astuple(default), strict=True)
        return sum(abs(math.log2((ours + 1) / (theirs + 1))) for ours, theirs in pairs)

    others: list[Tile] = sorted((tile for tile in found if tile != default), key=steps)
    return [default] + others if with_default else others  # noqa: RUF005
