"""The places of tokens in a text, in bytes of its UTF-8: int64 [T, 2], begin and end of each token.

The tokens of a text tile it: each begins where the one before ends. Only a character that is lowercased
to several tokens, with another number of bytes, belongs to each of them whole.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def character_bytes(text: str) -> Counts:
    """The bytes of each character, int64 [characters]."""
    points = np.frombuffer(text.encode("utf-32-le"), "<u4")
    return np.array(1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF), np.int64)


def spans_of_lengths(own: Counts, read: Counts, lengths: Counts) -> Counts:
    """Spans of tokens that follow each other without a gap.

    `own` are the bytes of each character of the text, `read` those that the tokens have for it, and
    `lengths` the bytes of each token. The sums of `read` and `lengths` are equal.
    """
    own_ends, read_ends, ends = own.cumsum(), read.cumsum(), lengths.cumsum()
    begins = ends - lengths
    # The characters of the first byte and of the last.
    first, last = (np.searchsorted(read_ends, at, side="right") for at in (begins, ends - 1))
    alike = own == read
    inner = np.where(alike[first], begins - (read_ends - read)[first], 0)
    rest = np.where(alike[last], read_ends[last] - ends, 0)
    return np.stack(((own_ends - own)[first] + inner, own_ends[last] - rest), axis=1)


def spans_of_offsets(
    own: Counts, offsets: Sequence[tuple[int, int]], are_bytes: Sequence[bool]
) -> Counts:
    """Spans of tokens whose places in characters are known.

    `own` are the bytes of each character of the text. The tokens of the single bytes of a character all
    have the character's offsets; each gets its own byte here.
    """
    if not offsets:
        return np.zeros((0, 2), np.int64)
    places = np.array(offsets, np.int64)
    spans: Counts = np.append(0, own.cumsum())[places]
    starts = np.append(0, np.flatnonzero((np.diff(places, axis=0) != 0).any(axis=1)) + 1)
    counts = np.diff(np.append(starts, len(places)))
    single = np.logical_and.reduceat(np.array(are_bytes), starts)
    single &= counts == (spans[:, 1] - spans[:, 0])[starts]
    # Unless the token before has a part of the character, as a letter of a lowercased one.
    single[1:] &= places[starts[1:] - 1, 1] <= places[starts[1:], 0]
    chosen = np.repeat(single, counts)
    within = np.arange(len(places)) - np.repeat(starts, counts)
    spans[chosen, 0] += within[chosen]
    spans[chosen, 1] = spans[chosen, 0] + 1
    return spans


def without_overlaps(spans: Counts) -> Counts:
    """Ends each token where the next one begins.

    HF's tokens that take the white space beside them also take that of a white-space token behind them.
    """
    begins, ends = spans[:, 0], spans[:, 1]
    over = np.flatnonzero((begins[:-1] < begins[1:]) & (begins[1:] < ends[:-1]))
    ends[over] = begins[over + 1]
    return spans
