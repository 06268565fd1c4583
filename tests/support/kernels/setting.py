"""Where the kernels run in these tests, what lies in wait there, and how close they must come.

On a CUDA device: the tile sizes that are served. Without one: Triton's interpreter, and small tiles, so
that short texts have many.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from math import prod
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import triton
from torch import Tensor

import triton_interpreter
from gemwire_kernels import reference
from gemwire_kernels.gpu import Attention, GpuOps, TileTable
from gemwire_kernels.gpu.tiles import AttentionTile, MatmulTile, TileSet
from gemwire_kernels.ops import Batch

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
DTYPES = [torch.float32, torch.bfloat16]
# Capacities that choose each of the served tile sets; 0: just over the batch's size.
BUCKETS = [0, 100, 1000, 16896] if CUDA else [0]
# Rows of a block beyond its batch.
ROOM = 3
# Canary elements on both sides of an output; a multiple of every alignment.
CANARY = 1024


def _old(package: Any, version: tuple[int, int]) -> bool:
    numbers: list[str] = package.__version__.split(".")
    return (int(numbers[0]), int(numbers[1])) < version


runs_kernels = pytest.mark.skipif(
    not CUDA and _old(triton, (3, 9)) and not _old(np, (2, 4)),
    # Triton < 3.9 cannot interpret loop bounds that were loaded with numpy >= 2.4.
    reason="no CUDA device, and Triton is too old to interpret kernels",
)
only_interpreted = pytest.mark.skipif(CUDA, reason="a CUDA device has no interpreter")
only_on_cuda = pytest.mark.skipif(not CUDA, reason="no CUDA device")


if not CUDA:
    triton_interpreter.teach()


def small_tiles(attention: tuple[int, int] = (16, 16)) -> TileTable:
    """A table for the interpreter: three sizes of matrix tiles, which take K at once, or in steps of other
    lengths, and one of attention (rows, keys). q, k and v go by heads in the largest, by columns else."""
    rows, keys = attention
    attend = AttentionTile(block_m=rows, block_n=keys, num_warps=4, num_stages=1)

    def sizes(
        block_m: int, block_n: int, block_k: int, stages: int, max_tokens: int | None
    ) -> TileSet:
        tile = MatmulTile(
            block_m=block_m, block_n=block_n, block_k=block_k, num_warps=4, num_stages=stages
        )
        qkv = tile if max_tokens else replace(tile, block_n=0)
        return TileSet(qkv=qkv, linear=tile, gate_up=tile, attention=attend, max_tokens=max_tokens)

    sets = (sizes(16, 16, 64, 0, 40), sizes(16, 16, 64, 1, 64), sizes(32, 32, 32, 1, None))
    return TileTable("small", sets)


def make_ops(
    heads: int = 1,
    kv_heads: int = 1,
    head_dim: int = 32,
    *,
    dtype: torch.dtype = torch.float32,
    tile: tuple[int, int] = (16, 16),
    residual_dtype: torch.dtype = torch.float32,
    copy_engine: bool = True,
) -> GpuOps:
    """`tile`: rows and keys of attention's tiles in the interpreter; `copy_engine` there too."""
    sizes = Attention(num_heads=heads, num_kv_heads=kv_heads, head_dim=head_dim)
    if CUDA:
        return GpuOps.on(DEVICE, sizes, dtype, residual_dtype=residual_dtype)
    # Two multiprocessors: every program has several tiles.
    return GpuOps(
        sizes,
        small_tiles(tile),
        dtype=dtype,
        device=DEVICE,
        multiprocessors=2,
        copy_engine=copy_engine,
        residual_dtype=residual_dtype,
    )


def placed(
    ops: GpuOps, lengths: list[int], *, ids: list[int] | None = None, capacity: int = 0
) -> Batch:
    """A batch in a block with room to spare, where whatever is beyond its counts is a trap: an index
    that nothing may follow."""
    tokens = sum(lengths)
    block = ops.block(max(capacity, tokens, len(lengths)) + ROOM)
    host = block.host()
    host[0::2], host[1::2] = 1_000_000, -7
    block.fill(host, *arrays(lengths, ids))
    block.upload(host)
    return block.batch


def placed_for_reference(lengths: list[int], *, ids: list[int] | None = None) -> Batch:
    return reference.place(*arrays(lengths, ids))


def arrays(lengths: list[int], ids: list[int] | None = None) -> tuple[Any, Any, Any]:
    """ids (0 if it does not matter), positions and cu_seqlens, int32."""
    return (
        np.array([0] * sum(lengths) if ids is None else ids, dtype=np.int32),
        np.array(list(chain.from_iterable(map(range, lengths))), dtype=np.int32),
        np.cumsum([0, *lengths], dtype=np.int32),
    )


def beyond(batch: Batch, rows: Tensor, fill: float = float("nan")) -> Tensor:
    """A batch's rows where the kernels run, and `fill` in all the rows that it has room for."""
    whole = torch.full((len(batch.input_ids), *rows.shape[1:]), fill, dtype=rows.dtype)
    whole[: len(rows)] = rows
    return whole.to(DEVICE)


@contextmanager
def guarded() -> Iterator[None]:
    """Outputs begin as NaN and have canaries on both sides, looked after at the end."""
    kept: list[Tensor] = []
    make, full = torch.empty, torch.full

    def empty(*shape: int, **options: Any) -> Tensor:
        if options.keys() != {"dtype", "device"}:
            return make(*shape, **options)  # not a kernel's
        size = prod(shape)
        kept.append(full((size + 2 * CANARY,), float("nan"), **options))
        return kept[-1][CANARY : CANARY + size].view(shape)

    def empty_like(other: Tensor) -> Tensor:
        return empty(*other.shape, dtype=other.dtype, device=other.device)

    with (
        mock.patch.object(torch, "empty", empty),
        mock.patch.object(torch, "empty_like", empty_like),
    ):
        yield
    assert kept, "no output was made here"
    for memory in kept:
        assert memory[:CANARY].isnan().all() and memory[-CANARY:].isnan().all()


def assert_no_worse(found: Tensor, eager: Tensor, exact: Tensor) -> None:
    """The error of `found` against at most twice that of `eager`, as the largest one and row by row."""
    assert found.shape == eager.shape == exact.shape
    found, eager, exact = (t.detach().to(DEVICE).double() for t in (found, eager, exact))
    if not exact.numel():
        return
    assert found.isfinite().all()
    ours, theirs = (found - exact).abs(), (eager - exact).abs()
    size = exact.abs().max().clamp_min(1.0)
    assert ours.max() <= 2 * theirs.max() + 2e-6 * size
    length = exact.flatten(1).norm(dim=1)
    ours, theirs = (t.flatten(1).norm(dim=1) for t in (ours, theirs))
    allowed = 2 * (theirs / length.clamp_min(1e-30)).max() + 1e-5
    assert (ours <= allowed * length + 1e-30).all()
