"""Finds a card's tiles by measuring, for `gemwire tune`.

Every candidate is run and compared before it is timed: one that does not compile, spills or does not fit
is passed over, and so is one whose bits differ from those of the other sizes.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gemwire_kernels.gpu.attention import attention
from gemwire_kernels.gpu.batch import Plan
from gemwire_kernels.gpu.candidates import (
    attention_candidates,
    best_size,
    better,
    matmul_candidates,
)
from gemwire_kernels.gpu.compiling import compile_together, launches
from gemwire_kernels.gpu.gate_up_geglu import gate_up_geglu
from gemwire_kernels.gpu.linear import linear
from gemwire_kernels.gpu.qkv_norm_rope import ROTARY_DTYPES, qkv_norm_rope
from gemwire_kernels.gpu.tiles import AttentionTile, MatmulTile, TileSet, TileTable
from gemwire_kernels.gpu.timing import capture, input_sets, interleave, poisoned, relative_error
from gemwire_kernels.gpu.workbench import Inputs, Workbench, lengths_of, mixed_lengths
from gemwire_kernels.ops import Batch

MATMULS = ("qkv", "linear", "gate_up")
OPERATIONS = (*MATMULS, "attention")
# Tokens of the batch that a table's largest size is measured on: what bulk uses.
LARGEST_TOKENS = 16896
# Limit of |out - default's| / |default's|: bfloat16 rounds once in both.
CLOSE = 1e-2
EPS = 1e-6
# Share of a step's time for compiling and comparing its candidates; the rest is for timing.
COMPILING = 0.7
# Candidates that are compiled side by side before the first of them is compared.
COMPILED_TOGETHER = 32
# Sliding layers per full layer, as in the model.
SLIDING_TO_FULL = 5

Report = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Change:
    """The measurement of one operation at one size, in seconds; `before` is that of the table's tile."""

    operation: str
    tokens: int
    before: float | None
    after: float
    tile: MatmulTile | AttentionTile
    tried: int


@dataclass(frozen=True, slots=True)
class Tuned:
    """The sets that the search found, and their comparison with the former ones."""

    sets: tuple[TileSet, ...]
    changes: tuple[Change, ...]


def tune(
    bench: Workbench,
    table: TileTable,
    seconds: float,
    report: Report,
    operations: Sequence[str] = OPERATIONS,
) -> Tuned:
    """Searches for about `seconds`. Calls `report` with the number of steps done, that of all
    steps, and the name of the next.

    Operations that are not named keep their tiles. Raises ValueError if an operation has no tile that
    works.
    """
    search = _Search(bench, table, time.monotonic() + seconds, report, operations)
    sets, changes = list(table.sets), []
    for operation in filter(operations.__contains__, MATMULS):
        tiles, found = search.matmul(operation)
        for i, tile in enumerate(tiles):
            sets[i] = with_tile(sets[i], operation, tile)
        changes += found
    if "attention" in operations:
        attention_tiles, found = search.attention()
        sets = [replace(s, attention=tile) for s, tile in zip(sets, attention_tiles, strict=True)]
        changes += found
    return Tuned(tuple(sets), tuple(changes))


def measured_tokens(limits: Sequence[int | None]) -> tuple[int, ...]:
    """Returns the tokens of the batch that each of a table's sizes is measured on: half of what fits, as
    batches are between the limits."""
    return tuple(LARGEST_TOKENS if limit is None else max(1, limit // 2) for limit in limits)


def with_tile(tile_set: TileSet, operation: str, tile: MatmulTile) -> TileSet:
    changed: dict[str, Any] = {operation: tile}
    return replace(tile_set, **changed)


class _Search:
    """One search, which divides its time among its steps."""

    def __init__(
        self,
        bench: Workbench,
        table: TileTable,
        deadline: float,
        report: Report,
        operations: Sequence[str],
    ) -> None:
        self._bench = bench
        self._deadline, self._report = deadline, report
        self._sets = table.sets
        self._tokens = measured_tokens([s.max_tokens for s in table.sets])
        self._rotary = bench.rotary(ROTARY_DTYPES[bench.dtype])
        self._element = torch.empty((), dtype=bench.dtype).element_size()
        matmuls = sum(operation in MATMULS for operation in operations)
        self._steps = matmuls * len(self._sets) + ("attention" in operations)
        self._done = 0

    @contextmanager
    def _step(self, what: str) -> Iterator[tuple[float, float]]:
        """Yields when compiling should end, and the seconds there are to time; counts the step."""
        self._report(self._done, self._steps, what)
        share = max(0.0, self._deadline - time.monotonic()) / (self._steps - self._done)
        yield time.monotonic() + COMPILING * share, (1 - COMPILING) * share
        self._done += 1
        self._report(self._done, self._steps, what)

    def matmul(self, operation: str) -> tuple[list[MatmulTile], list[Change]]:
        """Finds a tile for each size, all of which give the bits of the largest size's first."""
        inputs = self._bench.inputs(LARGEST_TOKENS, self._rotary)
        anchor: list[Tensor] | None = None
        changes: list[Change] = []
        tiles: list[MatmulTile] = []
        for i, tokens in reversed(list(enumerate(self._tokens))):
            default: MatmulTile = getattr(self._sets[i], operation)
            batch, first_rows = self._batch(tokens, i), _first_rows(inputs, tokens)
            calls = {
                tile: _matmul_call(operation, batch, tile, first_rows, self._bench)
                for tile in self._matmul_candidates(operation, default, tokens)
            }
            candidates, tried = list(calls), 0
            working: list[MatmulTile] = []
            with self._step(f"{operation}, {tokens} tokens") as (until, timing):
                while tried < len(candidates):
                    if working and time.monotonic() > until:
                        break
                    together = candidates[tried : tried + COMPILED_TOGETHER]
                    compile_together(calls[tile] for tile in together)
                    for tile in together:
                        out = _outputs(calls[tile])
                        if out is not None and (anchor is None or _same(out, anchor)):
                            anchor = anchor or out
                            working.append(tile)
                    tried += len(together)
                seconds = self._time_matmuls(operation, i, working, timing)
            best = better(default, seconds)
            if best is None:
                raise ValueError(f"{operation}: no tile for {tokens} tokens works")
            tiles.insert(0, best)
            before, after = seconds.get(default), seconds[best]
            changes.insert(0, Change(operation, tokens, before, after, best, tried))
        return tiles, changes

    def _matmul_candidates(
        self, operation: str, default: MatmulTile, tokens: int
    ) -> list[MatmulTile]:
        half = self._bench.sizes.attention.head_dim // 2 if operation == "qkv" else 0
        return matmul_candidates(default, tokens, self._bench.shared_memory, self._element, half)

    def _batch(self, tokens: int, i: int) -> Batch:
        lengths = lengths_of(tokens, min(512, tokens))
        return self._bench.batch(lengths, self._sets[i])

    def _time_matmuls(
        self, operation: str, i: int, tiles: Sequence[MatmulTile], seconds: float
    ) -> dict[MatmulTile, float]:
        if not tiles:
            return {}
        tokens = self._tokens[i]
        one = self._bench.inputs(tokens, self._rotary)
        used = sum(t.nbytes for t in one if isinstance(t, Tensor))
        sets = [one] + [
            self._bench.inputs(tokens, self._rotary)
            for _ in range(input_sets(used // 3, self._bench.l2_bytes) - 1)
        ]
        batch = self._batch(tokens, i)
        return _time(
            {
                tile: [_matmul_call(operation, batch, tile, s, self._bench) for s in sets]
                for tile in tiles
            },
            seconds,
        )

    def attention(self) -> tuple[list[AttentionTile], list[Change]]:
        """Finds a tile for each of the table's sizes; they differ only in what changes no bits."""
        default = self._sets[-1].attention
        bench = self._bench
        ours = dict.fromkeys(s.attention for s in reversed(self._sets))
        others = attention_candidates(
            default, bench.sizes.attention.head_dim, bench.shared_memory, self._element
        )
        loads = [
            mixed_lengths(tokens) if tokens > 600 else lengths_of(tokens, 16)
            for tokens in self._tokens
        ]
        tried, anchors = 0, dict[tuple[int, int, int], list[Tensor]]()
        working: list[AttentionTile] = []
        with self._step("attention") as (until, timing):
            tensors = [self._qkv(tokens) for tokens in self._tokens]
            for tile in ours | dict.fromkeys(others):
                if working and time.monotonic() > until:
                    break
                tried += 1
                batch = self._attention_batch(-1, loads[-1], tile)
                out = _outputs(_attention_call(batch, tensors[-1], bench))
                if out is None:
                    continue
                # Other sizes have other bits, near ones; other stages have the same.
                near = all(_close(out, anchor) for anchor in anchors.values())
                if near and _same(out, anchors.setdefault(tile.size, out)):
                    working.append(tile)
            by_size = []
            for i, lengths in enumerate(loads):
                calls = {
                    tile: [
                        _attention_call(self._attention_batch(i, lengths, tile), tensors[i], bench)
                    ]
                    for tile in working
                }
                by_size.append(_time(calls, timing / len(loads)))
        size = best_size(default, by_size)
        if size is None:
            raise ValueError("attention: no tile works")
        tiles, changes = [], []
        for tile_set, tokens, times in zip(self._sets, self._tokens, by_size, strict=True):
            fitting = {tile: seconds for tile, seconds in times.items() if tile.size == size}
            best = better(tile_set.attention, fitting)
            assert best is not None  # every number of tokens has the same tiles
            before = times.get(tile_set.attention)
            tiles.append(best)
            changes.append(Change("attention", tokens, before, fitting[best], best, tried))
        return tiles, changes

    def _attention_batch(self, i: int, lengths: Any, tile: AttentionTile) -> Batch:
        return self._bench.batch(lengths, replace(self._sets[i], attention=tile))

    def _qkv(self, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
        sizes = self._bench.sizes.attention
        q = self._bench.normal(tokens, sizes.num_heads, sizes.head_dim)
        k, v = (self._bench.normal(tokens, sizes.num_kv_heads, sizes.head_dim) for _ in range(2))
        return q, k, v


def _first_rows(inputs: Inputs, tokens: int) -> Inputs:
    return inputs._replace(**{name: getattr(inputs, name)[:tokens] for name in ("x", "h", "heads")})


def _matmul_call(
    operation: str, batch: Batch, tile: MatmulTile, inputs: Inputs, bench: Workbench
) -> Callable[[], list[Tensor]]:
    plan: Plan = batch.plan
    plan = plan._replace(tiles=with_tile(plan.tiles, operation, tile))
    return partial(
        _matmul, operation, plan, batch.positions, inputs, bench.sizes.attention.num_heads
    )


def _matmul(
    operation: str, plan: Plan, positions: Tensor, inputs: Inputs, num_heads: int
) -> list[Tensor]:
    if operation == "qkv":
        norm = inputs.head_norm
        return list(
            qkv_norm_rope(
                plan,
                inputs.x,
                inputs.qkv_proj,
                norm,
                norm,
                inputs.rotary,
                positions,
                num_heads,
                EPS,
            )
        )
    if operation == "linear":
        return [linear(plan, inputs.heads, inputs.o_proj), linear(plan, inputs.h, inputs.down_proj)]
    return [gate_up_geglu(plan, inputs.x, inputs.gate_up_proj)]


def _attention_call(
    batch: Batch, qkv: tuple[Tensor, Tensor, Tensor], bench: Workbench
) -> Callable[[], list[Tensor]]:
    scale, window = bench.sizes.attention.head_dim**-0.5, bench.sizes.window
    call = partial(attention, batch.plan, *qkv, batch.cu_seqlens, scale)
    return lambda: [call(w) for w in [window] * SLIDING_TO_FULL + [None]]


def _outputs(call: Callable[[], list[Tensor]]) -> list[Tensor] | None:
    """Returns the call's outputs, or None if its kernel does not compile, does not fit or spills."""
    try:
        with launches() as kernels, poisoned():
            out = [tensor.clone() for tensor in call()]
        torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        raise
    except Exception:
        torch.cuda.synchronize()  # raises again if it was a fault, after which nothing runs
        return None
    return None if any(kernel.n_spills for kernel in kernels) else out


def _close(out: Sequence[Tensor], truth: Sequence[Tensor]) -> bool:
    pairs = zip(out, truth, strict=True)
    return all(relative_error(a, b[: len(a)]) < CLOSE for a, b in pairs)


def _same(out: Sequence[Tensor], anchor: Sequence[Tensor]) -> bool:
    """Compares bit for bit, for as many rows as `out` has."""
    return all(torch.equal(a, b[: len(a)]) for a, b in zip(out, anchor, strict=True))


def _time(calls: Mapping[Any, Sequence[Callable[[], object]]], seconds: float) -> dict[Any, float]:
    names = {str(number): tile for number, tile in enumerate(calls)}
    replays = {name: capture(calls[tile]) for name, tile in names.items()}
    return {names[name]: value for name, value in interleave(replays, seconds).items()}
