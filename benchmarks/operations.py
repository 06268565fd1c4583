"""Each operation of the encoder at EmbeddingGemma's sizes: inputs, contenders, truth in fp64, and cost.

Contenders: gemwire's kernel; "torch", what plain PyTorch does (the reference's operations); "compiled",
torch.compile of that; for attention padded SDPA, FlexAttention and varlen_attn; "cublas", the product
alone, without what gemwire fuses into it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from attention_peers import attention_truth, flex, lazily, padded_sdpa, varlen
from gemwire_kernels import reference
from gemwire_kernels.gpu import GpuOps
from gemwire_kernels.gpu.workbench import Workbench, lengths_of, mixed_lengths
from gemwire_kernels.ops import Batch, RotaryTable

EPS, VOCABULARY = 1e-6, 262144
Outputs = tuple[Tensor, ...]
Run = partial[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One operation at one size. `make` gives, for fresh inputs, each contender's call and the truth's;
    calls return a tensor or a tuple of them, of which `truth` is compared with as many as it has."""

    name: str
    tokens: int
    bytes: int
    flops: int
    make: Callable[[], tuple[dict[str, Run], Callable[[], Outputs]]]
    tolerance: float = 1e-2
    # Contenders that compute less than the operation: not compared.
    partial: frozenset[str] = field(default=frozenset())
    compile: bool = True
    # The contender that is one product of cuBLAS and nothing else.
    cublas: str = "cublas"


def norm64(x: Tensor, weight: Tensor) -> Tensor:
    x = x.double()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * weight.double()


class Operations:
    """Makes the cases for one number of tokens."""

    def __init__(
        self, bench: Workbench, ops: GpuOps, embedding: Tensor, rotary: RotaryTable
    ) -> None:
        self.bench, self.ops = bench, ops
        self.embedding, self.rotary = embedding, rotary

    def cases(self, tokens: int) -> Iterator[Case]:
        hidden, inner = self.bench.sizes.hidden, self.bench.sizes.intermediate
        a = self.bench.sizes.attention
        q, rows = a.num_heads * a.head_dim, self.bench.sizes.head_rows
        t = tokens
        yield Case(
            name="embed_norm", tokens=t, bytes=t * (4 + hidden * 8), flops=0,
            make=partial(self._embed_norm, t),
        )  # fmt: skip
        yield Case(
            name="qkv_norm_rope", tokens=t, bytes=2 * (t * (hidden + rows) + rows * hidden),
            flops=2 * t * rows * hidden, make=partial(self._qkv, t), partial=frozenset({"cublas"}),
        )  # fmt: skip
        for name, depth in (("linear o", q), ("linear down", inner)):
            yield Case(
                name=name, tokens=t, bytes=2 * (t * (depth + hidden) + depth * hidden),
                flops=2 * t * depth * hidden, make=partial(self._linear, t, depth), cublas="torch",
            )  # fmt: skip
        yield Case(
            name="norm_residual_norm", tokens=t, bytes=t * hidden * 12, flops=0,
            make=partial(self._norms, t),
        )  # fmt: skip
        yield Case(
            name="gate_up_geglu", tokens=t,
            bytes=2 * (t * (hidden + inner) + 2 * inner * hidden), flops=4 * t * inner * hidden,
            make=partial(self._gate_up, t), partial=frozenset({"cublas"}),
        )  # fmt: skip
        texts = len(lengths_of(t, 128))
        yield Case(
            name="pool", tokens=t, bytes=4 * hidden * (t + texts), flops=0,
            make=partial(self._pool, t), tolerance=1e-4,
        )  # fmt: skip
        yield Case(
            name="head", tokens=t, bytes=4 * hidden * (2 * texts + hidden), flops=0,
            make=partial(self._head, t), tolerance=1e-4,
        )  # fmt: skip
        yield from self._attention_cases(t)

    def _batch(self, lengths: NDArray[np.int32]) -> Batch:
        tokens = int(lengths.sum())
        return self.bench.batch(lengths, self.ops.table.for_tokens(tokens), len(self.embedding))

    def _embed_norm(self, tokens: int) -> Any:
        batch = self._batch(lengths_of(tokens, 128))
        scale, norm = self.bench.sizes.hidden**0.5, self.bench.norm(self.bench.sizes.hidden)
        arguments = self.embedding, scale, norm, EPS

        def truth() -> Outputs:
            residual = F.embedding(batch.input_ids, self.embedding).double() * scale
            return residual, norm64(residual, norm)

        return {
            "gemwire": partial(self.ops.embed_norm, batch, *arguments),
            "torch": partial(reference.embed_norm, _plain(batch), *arguments),
        }, truth

    def _qkv(self, tokens: int) -> Any:
        bench, heads = self.bench, self.bench.sizes.attention.num_heads
        batch = self._batch(lengths_of(tokens, 128))
        x, w = (
            bench.normal(tokens, bench.sizes.hidden),
            bench.weight(bench.sizes.head_rows, bench.sizes.hidden),
        )
        qn, kn = (bench.norm(bench.sizes.attention.head_dim) for _ in range(2))
        ours = RotaryTable(*(table.to(self.ops.rotary_dtype) for table in self.rotary))

        def truth() -> Outputs:
            all_heads = (x.double() @ w.double().T).unflatten(-1, (-1, len(qn)))
            kv = (all_heads.shape[1] - heads) // 2
            q, k, v = all_heads.split((heads, kv, kv), dim=1)
            cos, sin = (table[batch.positions, None].double() for table in self.rotary)
            q, k = (reference.rotate(norm64(t, n), cos, sin) for t, n in ((q, qn), (k, kn)))
            return q, k, v

        return {
            "gemwire": partial(self.ops.qkv_norm_rope, batch, x, w, qn, kn, ours, heads, EPS),
            "torch": partial(
                reference.qkv_norm_rope, _plain(batch), x, w, qn, kn, self.rotary, heads, EPS
            ),
            "cublas": partial(F.linear, x, w),
        }, truth

    def _linear(self, tokens: int, depth: int) -> Any:
        batch = self._batch(lengths_of(tokens, 128))
        x, w = self.bench.normal(tokens, depth), self.bench.weight(self.bench.sizes.hidden, depth)
        return {
            "gemwire": partial(self.ops.linear, batch, x, w),
            "torch": partial(F.linear, x, w),
        }, lambda: (x.double() @ w.double().T,)

    def _norms(self, tokens: int) -> Any:
        bench, hidden = self.bench, self.bench.sizes.hidden
        batch, y = self._batch(lengths_of(tokens, 128)), bench.normal(tokens, hidden)
        residual = bench.normal(tokens, hidden, dtype=torch.float32)
        post, following = bench.norm(hidden), bench.norm(hidden)
        # In place: each contender and the truth begin from the same residual.
        weights = post, following, EPS
        return {
            "gemwire": partial(self.ops.norm_residual_norm, batch, y, residual.clone(), *weights),
            "torch": partial(
                reference.norm_residual_norm, _plain(batch), y, residual.clone(), *weights
            ),
            # As for "torch": compiled apart, on a residual of its own.
            "compiled": partial(
                reference.norm_residual_norm, _plain(batch), y, residual.clone(), *weights
            ),
        }, lambda: (norm64(residual.double() + norm64(y, post), following),)

    def _gate_up(self, tokens: int) -> Any:
        hidden, inner = self.bench.sizes.hidden, self.bench.sizes.intermediate
        batch = self._batch(lengths_of(tokens, 128))
        x, w = self.bench.normal(tokens, hidden), self.bench.weight(2 * inner, hidden)

        def truth() -> Outputs:
            gate, up = (x.double() @ w.double().T).chunk(2, dim=-1)
            return (F.gelu(gate, approximate="tanh") * up,)

        return {
            "gemwire": partial(self.ops.gate_up_geglu, batch, x, w),
            "torch": partial(reference.gate_up_geglu, _plain(batch), x, w),
            "cublas": partial(F.linear, x, w),
        }, truth

    def _pool(self, tokens: int) -> Any:
        hidden, lengths = self.bench.sizes.hidden, lengths_of(tokens, 128)
        batch = self._batch(lengths)
        residual = self.bench.normal(tokens, hidden, dtype=torch.float32)
        norm, n = self.bench.norm(hidden), len(lengths)
        counts = torch.from_numpy(lengths).to(residual.device)
        owner = torch.repeat_interleave(torch.arange(n, device=residual.device), counts)

        def truth() -> Outputs:
            sums = torch.zeros(n, hidden, dtype=torch.float64, device=residual.device)
            return (sums.index_add_(0, owner, norm64(residual, norm)) / counts[:, None],)

        ours = partial(self.ops.pool, batch, residual, norm, EPS)
        return {"gemwire": ours, "torch": partial(torch_pool, residual, norm, owner, counts)}, truth

    def _head(self, tokens: int) -> Any:
        hidden, lengths = self.bench.sizes.hidden, lengths_of(tokens, 128)
        batch, n = self._batch(lengths), len(lengths)
        pooled = self.bench.normal(n, hidden, dtype=torch.float32)
        dense = self.bench.normal(hidden, hidden, scale=hidden**-0.5, dtype=torch.float32)
        return {
            "gemwire": partial(self.ops.head, batch, pooled, dense),
            "torch": partial(reference.head, _plain(batch), pooled, dense),
        }, lambda: (F.normalize(pooled.double() @ dense.double().T, dim=-1),)

    def _attention_cases(self, tokens: int) -> Iterator[Case]:
        sizes, window = self.bench.sizes.attention, self.bench.sizes.window
        lengths = {str(n): lengths_of(tokens, n) for n in (16, 128, 512, 2048) if n <= tokens}
        if tokens > 2 * window:
            lengths["mix"] = mixed_lengths(tokens)
        row = 2 * sizes.head_dim * 2 * (sizes.num_heads + sizes.num_kv_heads)
        for label, each in lengths.items():
            # In texts no longer than the window both kinds see all of the text.
            for kind, reach in (("window", window), ("full", None)):
                if reach is None and each.max() <= window + 1:
                    continue
                pairs = sum(_pairs(int(n), reach) for n in each)
                yield Case(
                    name=f"attention {kind} {label}", tokens=tokens, bytes=tokens * row,
                    flops=4 * sizes.head_dim * sizes.num_heads * pairs, compile=False,
                    make=partial(self._attention, each, reach),
                )  # fmt: skip

    def _attention(self, lengths: NDArray[np.int32], window: int | None) -> Any:
        sizes, tokens = self.bench.sizes.attention, int(lengths.sum())
        batch, scale = self._batch(lengths), sizes.head_dim**-0.5
        q = self.bench.normal(tokens, sizes.num_heads, sizes.head_dim)
        k, v = (self.bench.normal(tokens, sizes.num_kv_heads, sizes.head_dim) for _ in range(2))
        calls: dict[str, Run] = {
            "gemwire": partial(self.ops.attention, batch, q, k, v, scale, window)
        }
        for name, peer in (("sdpa padded", padded_sdpa), ("flex", flex), ("varlen", varlen)):
            calls[name] = partial(lazily(partial(peer, q, k, v, lengths, scale, window)))
        return calls, lambda: (attention_truth(q, k, v, lengths, scale, window),)


def torch_pool(residual: Tensor, norm: Tensor, owner: Tensor, counts: Tensor) -> Tensor:
    """Pools as PyTorch does: a sum by index, whose atomics add in any order."""
    x = reference.rms_norm(residual, norm, EPS)
    return x.new_zeros(len(counts), len(norm)).index_add_(0, owner, x) / counts[:, None]


def _plain(batch: Batch) -> Batch:
    """Removes gemwire's plan, which torch.compile would guard."""
    return batch._replace(plan=None)


def _pairs(length: int, window: int | None) -> int:
    """Counts the pairs of a query and a key that the query sees."""
    if window is None or window >= length:
        return length * length
    return length * (2 * window + 1) - window * (window + 1)
