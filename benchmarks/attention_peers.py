"""PyTorch's own ways to attend within texts of different lengths, and the truth in fp64.

Each maker prepares what depends on the lengths (padding, masks) and returns the call that is timed, so
that no peer pays for its preparation. Calls return [tokens, heads * head_dim].
"""

import itertools
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Lengths = NDArray[np.int32]
Call = Callable[[], Tensor]


def lazily(make: Callable[[], Call]) -> Call:
    """Makes a peer at its first call, so that a peer that cannot be made fails alone."""
    made = cache(make)
    return lambda: made()()


def attention_truth(
    q: Tensor, k: Tensor, v: Tensor, lengths: Lengths, scale: float, window: int | None
) -> Tensor:
    parts = []
    ends = np.cumsum(lengths).tolist()
    for start, end in itertools.pairwise([0, *ends]):
        at = torch.arange(end - start, device=q.device)
        one = q[start:end].double().transpose(0, 1)
        keys, values = (
            t[start:end].double().transpose(0, 1).repeat_interleave(one.shape[0] // t.shape[1], 0)
            for t in (k, v)
        )
        scores = one @ keys.transpose(1, 2) * scale
        if window is not None:
            scores = scores.masked_fill((at[:, None] - at).abs() > window, -torch.inf)
        parts.append((scores.softmax(-1) @ values).transpose(0, 1).flatten(1))
    return torch.cat(parts)


def padded_sdpa(
    q: Tensor, k: Tensor, v: Tensor, lengths: Lengths, scale: float, window: int | None
) -> Call:
    """Attends over padded texts, [texts, heads, longest, head_dim] and a mask, as models without
    packing do.

    Padding is not timed. Unpadding is timed: a gather that costs little.
    """
    device, longest = q.device, int(lengths.max())
    counts = torch.from_numpy(lengths).to(device)
    real = torch.arange(longest, device=device) < counts[:, None]
    where = real.flatten().nonzero().flatten()

    def pad(t: Tensor) -> Tensor:
        out = t.new_zeros(len(lengths) * longest, *t.shape[1:])
        out[where] = t
        return out.unflatten(0, (len(lengths), longest)).transpose(1, 2).contiguous()

    group = q.shape[1] // k.shape[1]
    # Repeated in advance: transformers does so in each call.
    queries, keys, values = pad(q), *(pad(t.repeat_interleave(group, 1)) for t in (k, v))
    mask = None
    if not bool(real.all()) or (window is not None and longest > window + 1):
        at = torch.arange(longest, device=device)
        near = torch.ones(longest, longest, dtype=torch.bool, device=device)
        if window is not None:
            near = (at[:, None] - at).abs() <= window
        # A row without any key would be NaN: padding sees what a real row would.
        mask = (near & real[:, None, :])[:, None] | ~real[:, None, :, None]

    def call() -> Tensor:
        out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=scale)
        return out.transpose(1, 2).flatten(0, 1)[where].flatten(1)

    return call


def flex(
    q: Tensor, k: Tensor, v: Tensor, lengths: Lengths, scale: float, window: int | None
) -> Call:
    """Attends by FlexAttention over the packed batch with a mask of texts and window; compiled at
    the first call.
    """
    from torch.nn.attention.flex_attention import create_block_mask

    text = torch.repeat_interleave(
        torch.arange(len(lengths), device=q.device), torch.from_numpy(lengths).to(q.device)
    )

    def visible(batch: Tensor, head: Tensor, row: Tensor, column: Tensor) -> Tensor:
        same = text[row] == text[column]
        return same if window is None else same & ((row - column).abs() <= window)

    tokens = len(q)
    mask = create_block_mask(visible, None, None, tokens, tokens, device=q.device)
    queries, keys, values = (t.transpose(0, 1)[None].contiguous() for t in (q, k, v))

    def call() -> Tensor:
        out = _compiled_flex()(queries, keys, values, block_mask=mask, scale=scale, enable_gqa=True)
        return out[0].transpose(0, 1).flatten(1)

    return call


@cache
def _compiled_flex() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    compiled: Callable[..., Tensor] = torch.compile(flex_attention, dynamic=False)
    return compiled


def varlen(
    q: Tensor, k: Tensor, v: Tensor, lengths: Lengths, scale: float, window: int | None
) -> Call:
    """Attends by torch's varlen_attn. Keys and values are repeated in advance: torch 2.11 does not
    promise fewer heads.
    """
    from torch.nn.attention.varlen import varlen_attn

    cu_seqlens = torch.from_numpy(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
    cu_seqlens = cu_seqlens.to(q.device)
    group, longest = q.shape[1] // k.shape[1], int(lengths.max())
    keys, values = (t.repeat_interleave(group, 1) for t in (k, v))
    reach = (-1, -1) if window is None else (window, window)

    def call() -> Tensor:
        out = varlen_attn(
            q,
            keys,
            values,
            cu_seqlens,
            cu_seqlens,
            longest,
            longest,
            scale=scale,
            window_size=reach,
        )
        assert isinstance(out, Tensor)
        return out.flatten(1)

    return call
