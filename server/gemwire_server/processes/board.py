"""Figures that an engine shows to a front in the memory of their link: no message, so no thread is woken.

The front may read while the engine writes. The figures are hints, each written whole; the front reads which
texts run only when the engine has ended.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BOARD_BYTES = 1 << 20
_SEEN, _QUEUED, _RATE, _RUNNING, _FIRST = range(5)
# A running text takes two words. Texts beyond this number are not shown.
MOST_RUNNING = (BOARD_BYTES // 8 - _FIRST) // 2


class Board:
    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self._words = memory.view(np.uint64)
        self._numbers = memory.view(np.float64)

    def show(self, seen: int, queued_tokens: int, token_rate: float) -> None:
        """`seen` is the number of the last submission that the other figures include."""
        self._words[_QUEUED] = queued_tokens
        self._numbers[_RATE] = token_rate
        self._words[_SEEN] = seen

    def show_running(self, texts: Sequence[tuple[int, int]]) -> None:
        """Shows (submission's number, index) of this front's texts in the steps under way."""
        count = min(len(texts), MOST_RUNNING)
        if count:
            pairs = np.array(texts[:count], np.uint64).reshape(-1)
            self._words[_FIRST : _FIRST + len(pairs)] = pairs
        self._words[_RUNNING] = count

    @property
    def seen(self) -> int:
        return int(self._words[_SEEN])

    @property
    def queued_tokens(self) -> int:
        return int(self._words[_QUEUED])

    @property
    def token_rate(self) -> float:
        return float(self._numbers[_RATE])

    def running(self) -> list[tuple[int, int]]:
        pairs = self._words[_FIRST : _FIRST + 2 * int(self._words[_RUNNING])].reshape(-1, 2)
        return [(number, index) for number, index in pairs.tolist()]
