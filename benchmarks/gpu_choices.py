"""Part k measures choices that no other part shows: for small batches, the head, clocks under load.

    python benchmarks/gpu_choices.py [--seconds 40] [--output FILE]

- layers: 24 layers of a 16-token batch with other tiles, chained and not, and whether their bits are the
  same as the table's
- head: the head's product with other blocks and with fp32 instructions, and its error to fp64
- launches: an empty kernel behind another in a graph, chained and not (see gemwire_kernels.gpu.launch)
- clocks: a product alone, and in a run of some seconds, in which a card lowers its clocks

Prints a table; the last line is JSON. Exits with 1 if bits differ.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from card import card, ceilings, clocks_under_load, require_cuda
from environment import environment
from gemwire_kernels.gpu import GpuOps, TileTable, find_table
from gemwire_kernels.gpu.compiling import compile_together
from gemwire_kernels.gpu.head import _dense_kernel, part_of
from gemwire_kernels.gpu.launch import await_inputs, release
from gemwire_kernels.gpu.tiles import AttentionTile, MatmulTile, TileSet
from gemwire_kernels.gpu.timing import Replay, capture, interleave, relative_error
from gemwire_kernels.gpu.workbench import EMBEDDINGGEMMA, Workbench, lengths_of
from gemwire_kernels.ops import Ops
from gpu_kernels import DRY_SIZES
from measure import keep
from part import part_parser

TOKENS, LAYERS, FULL_EVERY, EPS = 16, 24, 6, 1e-6
# Seconds for which a run's clocks are sampled, after a pause in which the card recovers.
RUN_SECONDS, PAUSE_SECONDS = 1.5, 0.2


class Tiles(NamedTuple):
    """The tiles of a small batch; None: the table's."""

    qkv: MatmulTile | None = None
    linear: MatmulTile | None = None
    gate_up: MatmulTile | None = None
    attention: AttentionTile | None = None


def _tile(block_m: int, block_n: int, block_k: int, num_warps: int, num_stages: int) -> MatmulTile:
    return MatmulTile(
        block_m=block_m,
        block_n=block_n,
        block_k=block_k,
        num_warps=num_warps,
        num_stages=num_stages,
    )


def _at_once(block_n: int) -> Tiles:
    tile = _tile(16, block_n, 256, 4, 0)
    return Tiles(tile, tile, tile)


STEPS = _tile(64, 16, 256, 4, 4)
SMALL_TILES = {
    "the table's": Tiles(),
    "K in steps": Tiles(STEPS, STEPS, STEPS),
    "K in steps, q, k, v by heads": Tiles(_tile(64, 0, 64, 4, 5), STEPS, STEPS),
    "linear in steps": Tiles(linear=STEPS),
    "attention of 1 stage": Tiles(
        attention=AttentionTile(block_m=64, block_n=64, num_warps=4, num_stages=1)
    ),
    "16 columns a program": _at_once(8),
    "32 columns a program": _at_once(16),
    "64 columns a program": _at_once(32),
}


class Product(NamedTuple):
    """The blocks of the head's product, and its instructions."""

    precision: str
    block_m: int
    block_n: int
    block_k: int
    parts: int
    num_warps: int
    num_stages: int

    def run(self, x: Tensor, weight: Tensor, out: Tensor, counts: Tensor, programs: int) -> None:
        (texts, depth), columns = x.shape, len(weight)
        tiles = triton.cdiv(texts, self.block_m) * triton.cdiv(columns, self.block_n)
        _dense_kernel[(min(tiles, programs),)](
            x, weight, out, counts,
            N=columns, K=depth, PART=part_of(depth, self.block_k, self.parts), FETCHED=0,
            BLOCK_M=self.block_m, BLOCK_N=self.block_n, BLOCK_K=self.block_k, PARTS=self.parts,
            PRECISION=self.precision, CHAINED=False,
            num_warps=self.num_warps, num_stages=self.num_stages,
        )  # fmt: skip


PRODUCTS = (
    Product("tf32x3", 16, 32, 32, 4, 4, 4),
    Product("tf32x3", 16, 16, 32, 4, 4, 4),
    Product("tf32x3", 16, 64, 32, 4, 4, 3),
    Product("tf32x3", 16, 16, 32, 8, 8, 4),
    Product("tf32x3", 16, 32, 64, 1, 4, 4),
    Product("ieee", 16, 16, 64, 1, 2, 3),
)


@triton.jit  # type: ignore[untyped-decorator]
def _empty_kernel(out_ptr, CHAINED: tl.constexpr):  # type: ignore[no-untyped-def]
    release(CHAINED)
    await_inputs(CHAINED)
    tl.store(out_ptr + tl.program_id(0), 1.0)


class Choices:
    """Measures on one card. `result` is what the file holds."""

    def __init__(self, device: torch.device, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.sizes = DRY_SIZES if dry_run else EMBEDDINGGEMMA
        self.bench = Workbench(self.sizes, torch.bfloat16, device)
        gpu = torch.cuda.get_device_properties(device).name
        self.table = find_table(gpu, self.bench.shared_memory, "bfloat16", major=self.bench.major)
        self.result: dict[str, Any] = {
            "benchmark": "gpu_choices",
            "environment": environment() | {"card": card()},
        }

    def parts(self) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
        yield "layers", self.layers
        yield "head", self.head
        yield "launches", self.launches
        yield "clocks", self.clocks

    def clocks(self) -> dict[str, Any]:
        """Measures gate_up_geglu, the dearest product, in a short run and in a long one."""
        device = self.bench.device
        found: dict[str, Any] = {
            "ceilings": ceilings(device, 1 << 10, 64) if self.dry_run else ceilings(device)
        }
        tokens = TOKENS if self.dry_run else 16896
        batch = self.bench.batch(lengths_of(tokens, 128), self.table.for_tokens(tokens))
        ops = self._ops(self.table)
        weight = self.bench.weight(2 * self.sizes.intermediate, self.sizes.hidden)
        inputs = [self.bench.normal(tokens, self.sizes.hidden) for _ in range(4)]
        replay = capture([partial(ops.gate_up_geglu, batch, x, weight) for x in inputs])
        for name, seconds in (("short", 0.05), ("long", RUN_SECONDS)):
            time.sleep(0 if self.dry_run else PAUSE_SECONDS)
            clocks: dict[str, float] = {}
            with clocks_under_load(clocks):
                took = interleave({"": replay}, 0.0 if self.dry_run else seconds)[""]
            found[name] = {"seconds": took, "clocks": clocks}
        return found

    def launches(self) -> dict[str, Any]:
        """Measures seconds of an empty kernel of so many programs behind another like it."""
        out = torch.zeros(1024, device=self.bench.device)
        replays = {}
        for programs in (1, 2) if self.dry_run else (1, 48, 132):
            for chained in (False, True):
                call = partial(_empty_kernel[(programs,)], out, CHAINED=chained, launch_pdl=chained)
                replays[_name(f"{programs} programs", chained)] = capture([call] * 128)
        return dict(interleave(replays, 0.3))

    def layers(self) -> dict[str, Any]:
        """Measures seconds of all layers, by tiles and launches."""
        layers = 1 if self.dry_run else LAYERS
        rotary = self.bench.rotary(torch.float16)
        weights = [self.bench.inputs(TOKENS, rotary) for _ in range(layers)]
        runs = {
            _name(name, chained): self._layers(self._table(tiles).with_chained(chained), weights)
            for name, tiles in SMALL_TILES.items()
            for chained in (False, True)
        }
        compile_together(runs.values())
        replays, outputs = {}, {}
        for name, run in runs.items():
            run()  # loads the kernels, which a capture must not
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                out = run()
            graph.replay()
            torch.cuda.synchronize()
            outputs[name], replays[name] = out.clone(), Replay(graph, 1)
        first = next(iter(outputs.values()))
        return {
            name: {"seconds": seconds, "same_bits": torch.equal(outputs[name], first)}
            for name, seconds in interleave(replays, 0.0 if self.dry_run else 1.5).items()
        }

    def head(self) -> dict[str, Any]:
        """Measures seconds and error of the head's product for some numbers of texts."""
        hidden, device = self.sizes.hidden, self.bench.device
        weight = self.bench.normal(hidden, hidden, scale=hidden**-0.5, dtype=torch.float32)
        found: dict[str, Any] = {}
        for texts in (1, 3) if self.dry_run else (1, 132, 1056):
            x = self.bench.normal(texts, hidden, dtype=torch.float32)
            out = torch.empty(texts, hidden, device=device)
            counts = torch.tensor([texts, texts, 0, 0], dtype=torch.int32, device=device)
            truth = x.double() @ weight.double().T
            calls: dict[str, Callable[[], object]] = {
                str(tuple(product)): partial(
                    product.run, x, weight, out, counts, 4 * self.bench.multiprocessors
                )
                for product in PRODUCTS
            }
            compile_together(calls.values())
            errors = {}
            for name, call in calls.items():
                out.fill_(float("nan"))
                call()
                errors[name] = relative_error(out, truth)
            calls["torch"] = partial(F.linear, x, weight)
            replays = {name: capture([call]) for name, call in calls.items()}
            found[f"{texts} texts"] = {
                name: {"seconds": seconds, "error": errors.get(name)}
                for name, seconds in interleave(replays, 0.0 if self.dry_run else 0.5).items()
            }
        return found

    def _table(self, tiles: Tiles) -> TileTable:
        def changed(tile_set: TileSet) -> TileSet:
            given = {name: tile for name, tile in tiles._asdict().items() if tile is not None}
            return replace(tile_set, **given)

        first, *others = self.table.sets
        return replace(self.table, sets=(changed(first), *others))

    def _ops(self, table: TileTable) -> Ops:
        return GpuOps(
            self.sizes.attention,
            table,
            dtype=torch.bfloat16,
            device=self.bench.device,
            multiprocessors=self.bench.multiprocessors,
        )

    def _layers(self, table: TileTable, weights: list[Any]) -> Callable[[], Tensor]:
        ops, bench, sizes = self._ops(table), self.bench, self.sizes
        lengths = np.array([TOKENS], np.int32)
        batch = bench.batch(lengths, table.for_tokens(TOKENS))
        start = torch.linspace(-1, 1, TOKENS * sizes.hidden, device=bench.device)
        before, x0 = start.view(TOKENS, -1), start.view(TOKENS, -1).bfloat16()
        residual, norm = before.clone(), torch.ones(sizes.hidden, device=bench.device)
        scale, heads = sizes.attention.head_dim**-0.5, sizes.attention.num_heads

        def run() -> Tensor:
            residual.copy_(before)
            x = x0
            for number, w in enumerate(weights, 1):
                window = None if number % FULL_EVERY == 0 else sizes.window
                q, k, v = ops.qkv_norm_rope(
                    batch, x, w.qkv_proj, w.head_norm, w.head_norm, w.rotary, heads, EPS
                )
                y = ops.linear(batch, ops.attention(batch, q, k, v, scale, window), w.o_proj)
                x = ops.norm_residual_norm(batch, y, residual, norm, norm, EPS)
                y = ops.linear(batch, ops.gate_up_geglu(batch, x, w.gate_up_proj), w.down_proj)
                x = ops.norm_residual_norm(batch, y, residual, norm, norm, EPS)
            return x

        return run


def _name(what: str, chained: bool) -> str:
    return f"{what}, chained" if chained else what


def main() -> int:
    args = part_parser(__doc__, seconds=40.0).parse_args()
    device = require_cuda()
    end = time.monotonic() + args.seconds
    choices = Choices(device, args.dry_run)
    result = choices.result
    for name, measure in choices.parts():
        if time.monotonic() > end:
            result.setdefault("not_run", []).append(name)
            continue
        result[name] = measure()
        keep(result, args.output)
        print(f"{name}:")
        for label, value in result[name].items():
            print(f"  {label:40} {json.dumps(value)}")
    print(json.dumps(result))
    return 0 if all(row["same_bits"] for row in result.get("layers", {}).values()) else 1


if __name__ == "__main__":
    sys.exit(main())
