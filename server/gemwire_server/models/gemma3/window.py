"""Reads config.json's sliding_window: how far a token sees.

transformers lets token i see token j if |i - j| <= sliding_window // 2. Its versions before 5.16 save
sliding_window // 2 + 1 in place of the value that they loaded: EmbeddingGemma's 512 becomes 257, and 129
when the folder is saved once more. From then on transformers reads half of the window.
"""

import logging

from gemwire_server.errors import CheckpointError

log = logging.getLogger(__name__)

PUBLISHED = 512
OPTION = "--sliding-window"
# More tokens than any text has; kernels add the reach to positions in 32 bits.
LONGEST_REACH = 1 << 24


def read_window(written: int, chosen: int = 0) -> int:
    """Returns the reach to each side. `chosen` replaces the written value unless it is 0.

    257 is taken for a re-saved 512, with a warning. Raises CheckpointError for other odd values
    unless one is chosen, and for a value that is no whole number.
    """
    if type(written) is not int:
        raise CheckpointError(
            f"config.json: sliding_window is {written!r}: a whole number is expected"
        )
    if chosen:
        return literal_window(chosen)
    if written < 2:
        raise CheckpointError(f"config.json: sliding_window is {written}: at least 2 is expected")
    if written == resaved(PUBLISHED):
        log.warning(
            "config.json: sliding_window %d is taken for a re-saved %d, so a token sees %d to each side; "
            "transformers reads it as %d to each side, and its vectors of texts longer than that are "
            "others. %s %d says that this is right, %s %d serves what transformers reads",
            written, PUBLISHED, literal_window(PUBLISHED), literal_window(written),
            OPTION, PUBLISHED, OPTION, written,
        )  # fmt: skip
        return literal_window(PUBLISHED)
    if written % 2:
        raise CheckpointError(
            f"config.json: sliding_window is {written}, an odd number. transformers before 5.16 saves "
            f"n // 2 + 1 in place of n, so this is {_origins(written)}. Say what it means: "
            f"{OPTION} {PUBLISHED} for EmbeddingGemma's own window, or {OPTION} {written} for what "
            f"transformers reads, {literal_window(written)} tokens to each side"
        )
    return literal_window(written)


def literal_window(sliding_window: int) -> int:
    """Returns the reach to each side as transformers reads it, at most LONGEST_REACH."""
    return min(sliding_window // 2, LONGEST_REACH)


def resaved(sliding_window: int) -> int:
    """Returns the value that transformers before 5.16 saves in place of this one."""
    return sliding_window // 2 + 1


def _origins(written: int) -> str:
    value, times = PUBLISHED, 0
    while value > written:
        value, times = resaved(value), times + 1
    if value == written:
        return f"probably {PUBLISHED}, saved {times} times"
    return f"probably {2 * (written - 1)}, saved once"
