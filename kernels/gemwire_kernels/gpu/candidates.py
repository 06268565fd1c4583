"""Lists the tiles that `gemwire tune` tries, and selects among the measured ones. Pure: no GPU, no clock.

A small batch wants few long steps of the sum, as nothing hides what a step costs, and the smallest wants
all of it at once; a large one wants short steps, so that several are under way. Attention has one size of
tile (see gemwire_kernels.gpu.tiles).
"""

import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import astuple
from typing import TypeVar

from gemwire_kernels.gpu.tiles import AttentionTile, MatmulTile, Tile

BLOCK_MS = (64, 128)
BLOCK_NS = (16, 32, 64, 128)
BLOCK_K_TIMES = (1, 2, 4)  # of the default's
# Up to so many tokens all of the sum at once is tried, by tiles of so few rows.
AT_ONCE_TOKENS, AT_ONCE_ROWS = 64, 16
AT_ONCE_BLOCK_NS = (8, 16, 32)
ATTENTION_BLOCK_NS = (32, 64, 128)
WARPS = (4, 8)
STAGES = (2, 3, 4, 5, 6, 8, 12)
ATTENTION_STAGES = (1, 2, 3)
PER_MULTIPROCESSOR = (1, 2)
Choice = TypeVar("Choice")
# fp32 a thread in the accumulators; beyond it the epilogue has no registers.
MOST_ACCUMULATORS = 128
MOST_ATTENTION_ACCUMULATORS = 192
# Share of the default's time: a smaller gain is within the spread of two measurements.
WORTH = 0.98
# Bytes of a program beside its operands, for barriers and the epilogue's staging.
RESERVED_BYTES = 2048


def matmul_candidates(
    default: MatmulTile, tokens: int, shared_memory: int, element_size: int, half_head: int = 0
) -> list[MatmulTile]:
    """Lists the tiles that may fit for a batch of that many tokens, the default first.

    `half_head` is for qkv_norm_rope, whose tiles may have half a head for BLOCK_N, written as 0; it is 0
    for the other operations.
    """
    found = _at_once(default) if tokens <= AT_ONCE_TOKENS else []
    for block_m, block_n, block_k, num_warps, per in itertools.product(
        [rows for rows in BLOCK_MS if rows == BLOCK_MS[0] or rows < 2 * tokens],
        (0, *BLOCK_NS) if half_head else BLOCK_NS,
        [times * default.block_k for times in BLOCK_K_TIMES],
        WARPS,
        PER_MULTIPROCESSOR,
    ):
        columns = 2 * (block_n or half_head)
        if block_m * columns > MOST_ACCUMULATORS * 32 * num_warps:
            continue
        stage_bytes = (block_m + columns) * block_k * element_size
        most = (shared_memory // per - RESERVED_BYTES) // stage_bytes
        # Deep enough to hide the loads, or the next fewer for what the estimate does not see.
        for num_stages in [stages for stages in STAGES if stages <= most][-2:]:
            tile = MatmulTile(
                block_m=block_m,
                block_n=block_n,
                block_k=block_k,
                num_warps=num_warps,
                num_stages=num_stages,
                per_multiprocessor=per,
            )
            found.append(tile)
    return _nearest_first(found, default)


def _at_once(default: MatmulTile) -> list[MatmulTile]:
    return [
        MatmulTile(
            block_m=AT_ONCE_ROWS,
            block_n=block_n,
            block_k=default.block_k,
            num_warps=num_warps,
            num_stages=0,
        )
        for block_n, num_warps in itertools.product(AT_ONCE_BLOCK_NS, WARPS)
    ]


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
    return _nearest_first(found, default)


def better(
    default: Choice | None, seconds: Mapping[Choice, float], worth: float = WORTH
) -> Choice | None:
    """Returns the fastest choice, but the default unless another is clearly faster; None without any."""
    if not seconds:
        return None
    fastest = min(seconds, key=seconds.__getitem__)
    if default is not None and default in seconds and seconds[default] * worth <= seconds[fastest]:
        return default
    return fastest


def best_size(
    default: AttentionTile, by_tokens: Collection[Mapping[AttentionTile, float]]
) -> tuple[int, int, int] | None:
    """Returns the size of the tiles that are fastest in the geometric mean over the numbers of tokens."""
    sizes = {tile.size for times in by_tokens for tile in times}
    scores = {
        size: math.exp(
            sum(
                math.log(min(t for tile, t in times.items() if tile.size == size))
                for times in by_tokens
            )
            / len(by_tokens)
        )
        for size in sizes
    }
    return better(default.size, scores)


def _nearest_first(found: Iterable[Tile], default: Tile) -> list[Tile]:
    """Sorts by distance from the default, so that a search cut short has seen the likely ones."""

    def steps(tile: Tile) -> float:
        pairs = zip(astuple(tile), astuple(default), strict=True)
        return sum(abs(math.log2((ours + 1) / (theirs + 1))) for ours, theirs in pairs)

    return [default] + sorted((t for t in found if t != default), key=steps)  # noqa: RUF005
