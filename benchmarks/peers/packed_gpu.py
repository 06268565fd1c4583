"""A packed encoder on a GPU without kernels of one's own: PyTorch's operations, through torch.compile where
there is something to fuse, and FlexAttention or varlen_attn for texts side by side.

Batches are filled up to one size, so that everything is compiled once; what fills them belongs to no text.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.attention.varlen import varlen_attn

from gemwire_kernels import reference
from gemwire_kernels.formats import Stored
from gemwire_kernels.ops import Batch
from gemwire_server.checkpoints import Checkpoint
from gemwire_server.engine.packing import TokenIds, pack
from peers.contender import Vectors
from peers.gemwire import batches

BLOCK = 128  # FlexAttention's, in queries and in keys

Ids = NDArray[np.int32]
Kind = Literal["flex", "varlen"]


class Packed:
    """Embeds token ids in batches of `budget` tokens, a multiple of 128."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        kind: Kind,
        budget: int,
        *,
        dtype: torch.dtype = torch.bfloat16,
        device: str = "cuda",
        compiled: bool = True,
    ) -> None:
        wrap = partial(torch.compile, dynamic=False) if compiled else _as_it_is
        attend = _Flex(budget, device, wrap) if kind == "flex" else _Varlen()
        self._budget = budget
        self._ops = PackedOps(attend, budget, torch.device(device), wrap)
        self._encoder = checkpoint.load_encoder(self._ops, dtype, torch.device(device))

    @torch.inference_mode()
    def embed(self, texts: Sequence[TokenIds]) -> Vectors:
        """fp32 [n, dimensions]; the next batch is prepared while one runs."""
        found = []
        for sequences in batches(texts, self._budget):
            batch = pack(sequences)
            placed = self._ops.place(batch.input_ids, batch.positions, batch.cu_seqlens)
            found.append(self._encoder.forward(placed))
        vectors: Vectors = torch.cat(found).cpu().numpy()
        return vectors


class Texts(NamedTuple):
    """The plan of a batch. owner: int64 [budget], each token's text, of the filling `number`; cu_seqlens:
    int32 [number + 1]; longest: tokens of the longest text.
    """

    number: int
    longest: int
    owner: Tensor
    cu_seqlens: Tensor


class PackedOps:
    """Satisfies `Ops`."""

    def __init__(self, attend: Any, budget: int, device: torch.device, wrap: Any) -> None:
        self._attend = attend
        self._budget, self._device = budget, device
        self._embed_norm = wrap(reference.embed_norm)
        self._qkv_norm_rope = wrap(reference.qkv_norm_rope)
        self._norm_residual_norm = wrap(reference.norm_residual_norm)
        self._gate_up_geglu = wrap(reference.gate_up_geglu)
        self._pool = wrap(_pool)

    rotary_dtype = reference.rotary_dtype
    formats = reference.formats
    linear = staticmethod(reference.linear)

    def pack(self, weight: Stored) -> Tensor:
        return reference.pack(weight).to(self._device)

    pack_embedding = pack

    def place(self, input_ids: Ids, positions: Ids, cu_seqlens: Ids) -> Batch:
        lengths = np.diff(cu_seqlens)
        filling = self._budget - len(input_ids)
        owner = np.repeat(np.arange(len(lengths) + 1), [*lengths, filling])
        ids, at = np.pad([input_ids, positions], ((0, 0), (0, filling)))
        ids, at, owners, bounds = (
            _host(array, self._device).to(self._device, non_blocking=True)
            for array in (ids, at, owner, cu_seqlens)
        )
        self._attend.prepare(cu_seqlens, owners)
        return Batch(ids, at, bounds, Texts(len(lengths), int(lengths.max()), owners, bounds))

    def embed_norm(self, batch: Batch, *arguments: Any) -> Any:
        return self._embed_norm(_plain(batch), *arguments)

    def qkv_norm_rope(self, batch: Batch, *arguments: Any) -> Any:
        return self._qkv_norm_rope(_plain(batch), *arguments)

    def attention(
        self, batch: Batch, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        out: Tensor = self._attend(batch.plan, q, k, v, scale, window)
        return out

    def norm_residual_norm(self, batch: Batch, *arguments: Any) -> Any:
        return self._norm_residual_norm(_plain(batch), *arguments)

    def gate_up_geglu(self, batch: Batch, *arguments: Any) -> Any:
        return self._gate_up_geglu(_plain(batch), *arguments)

    def pool(self, batch: Batch, residual: Tensor, norm: Tensor, eps: float) -> Tensor:
        plan: Texts = batch.plan
        sums: Tensor = self._pool(residual, norm, plan.owner, eps)[: plan.number]
        return sums / plan.cu_seqlens.diff()[:, None]

    def head(
        self, batch: Batch, pooled: Tensor, dense: Tensor, *, normalize: bool = True
    ) -> Tensor:
        return reference.head(batch, pooled, dense, normalize=normalize)


class _Flex:
    """FlexAttention; its lists of blocks are one memory that each batch fills, so that nothing is compiled
    again.
    """

    def __init__(self, budget: int, device: str, wrap: Any) -> None:
        self._call = wrap(flex_attention)
        self._budget = budget
        self._owner = torch.zeros(budget, dtype=torch.int32, device=device)
        self._masks: dict[int | None, BlockMask] = {}
        self._cu_seqlens: Ids = np.zeros(1, np.int32)

    def prepare(self, cu_seqlens: Ids, owner: Tensor) -> None:
        self._cu_seqlens = cu_seqlens
        self._owner.copy_(owner)
        for window, mask in self._masks.items():
            self._fill(mask, window)

    def __call__(
        self, plan: Texts, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        if window not in self._masks:
            self._masks[window] = self._make(window)
            self._fill(self._masks[window], window)
        queries, keys, values = (t.transpose(0, 1)[None] for t in (q, k, v))
        mask = self._masks[window]
        out = self._call(queries, keys, values, block_mask=mask, scale=scale, enable_gqa=True)
        rows: Tensor = out[0].transpose(0, 1).flatten(1)
        return rows

    def _make(self, window: int | None) -> BlockMask:
        owner, blocks = self._owner, self._budget // BLOCK

        def seen(batch: Tensor, head: Tensor, row: Tensor, column: Tensor) -> Tensor:
            same = owner[row] == owner[column]
            return same if window is None else same & ((row - column).abs() <= window)

        def memory(*sizes: int) -> Tensor:
            return torch.zeros(1, 1, blocks, *sizes, dtype=torch.int32, device=owner.device)

        lists = memory(), memory(blocks), memory(), memory(blocks)
        return BlockMask.from_kv_blocks(*lists, BLOCK_SIZE=BLOCK, mask_mod=seen)

    def _fill(self, mask: BlockMask, window: int | None) -> None:
        some, whole = blocks_seen(self._cu_seqlens, self._budget // BLOCK, window)
        for table, counts, indices in (
            (some, mask.kv_num_blocks, mask.kv_indices),
            (whole, mask.full_kv_num_blocks, mask.full_kv_indices),
        ):
            assert counts is not None and indices is not None
            order = np.argsort(~table, axis=1, kind="stable").astype(np.int32)
            _copy(counts, table.sum(1, dtype=np.int32))
            _copy(indices, order)


def blocks_seen(
    cu_seqlens: Ids, blocks: int, window: int | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[blocks, blocks] of queries and keys: where some pairs are seen, and where all are."""
    starts, ends = cu_seqlens[:-1].astype(np.int64), cu_seqlens[1:].astype(np.int64)
    first = np.arange(blocks) * BLOCK
    last = np.minimum(first + BLOCK, cu_seqlens[-1]) - 1
    real = first <= last
    of_first, of_last = (
        np.searchsorted(ends, np.where(real, at, 0), side="right") for at in (first, last)
    )
    reach = cu_seqlens[-1] if window is None else window
    low = np.maximum(starts[of_first], first - reach)
    high = np.minimum(ends[of_last], last + 1 + reach)
    near = (first[None] < high[:, None]) & (first[None] + BLOCK > low[:, None]) & real[:, None]
    # All keys of the block in the one text of the queries, and none too far from any of them.
    one = real & (of_first == of_last) & (last - first == BLOCK - 1)
    inside = one[:, None] & one[None] & (of_first[:, None] == of_first[None])
    whole = inside & (np.abs(first[:, None] - first[None]) + BLOCK - 1 <= reach)
    return near & ~whole, whole


class _Varlen:
    """varlen_attn, which reads cu_seqlens itself. Rows of the filling are not written."""

    def __init__(self) -> None:
        # PyTorch before 2.12 wants as many heads of keys as of queries.
        self._groups = "enable_gqa" in inspect.signature(varlen_attn).parameters

    def prepare(self, cu_seqlens: Ids, owner: Tensor) -> None:
        pass

    def __call__(
        self, plan: Texts, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None
    ) -> Tensor:
        options: dict[str, Any] = {"window_size": (-1, -1) if window is None else (window, window)}
        if self._groups:
            options["enable_gqa"] = True
        else:
            k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
        bounds = plan.cu_seqlens, plan.cu_seqlens, plan.longest, plan.longest
        out = varlen_attn(q, k.contiguous(), v.contiguous(), *bounds, scale=scale, **options)
        assert isinstance(out, Tensor)
        return out.flatten(1)


def _pool(residual: Tensor, norm: Tensor, owner: Tensor, eps: float) -> Tensor:
    """Sums by index, into as many rows as could be needed, so that no shape depends on the count."""
    x = reference.rms_norm(residual, norm, eps)
    return x.new_zeros(len(x) + 1, x.shape[1]).index_add_(0, owner, x)


def _plain(batch: Batch) -> Batch:
    """Removes the plan, which torch.compile would guard."""
    return batch._replace(plan=None, cu_seqlens=batch.positions)


def _host(array: NDArray[Any], device: torch.device) -> Tensor:
    """Returns a tensor, pinned where that makes its copy asynchronous."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory() if device.type == "cuda" else tensor


def _copy(target: Tensor, array: NDArray[Any]) -> None:
    target.copy_(_host(array, target.device).view_as(target), non_blocking=True)


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
