"""The packed batch: the contract between engine and model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TokenIds = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Token ids of n texts end to end, without padding.

    input_ids: int32 [T]; positions: int32 [T], from 0 in each text; cu_seqlens: int32 [n + 1], text i
    is input_ids[cu_seqlens[i]:cu_seqlens[i + 1]].
    """

    input_ids: TokenIds
    positions: TokenIds
    cu_seqlens: TokenIds

    @property
    def num_tokens(self) -> int:
        return len(self.input_ids)

    @property
    def num_texts(self) -> int:
        return len(self.cu_seqlens) - 1


def pack(sequences: Sequence[TokenIds]) -> PackedBatch:
    """Packs texts of at least one token each, in the order given."""
    lengths = np.fromiter((len(ids) for ids in sequences), dtype=np.int32, count=len(sequences))
    cu_seqlens = np.zeros(len(sequences) + 1, dtype=np.int32)
    np.cumsum(lengths, out=cu_seqlens[1:])
    starts = np.repeat(cu_seqlens[:-1], lengths)
    return PackedBatch(
        input_ids=np.concatenate(sequences).astype(np.int32, copy=False),
        positions=np.arange(len(starts), dtype=np.int32) - starts,
        cu_seqlens=cu_seqlens,
    )
