"""The tokens of spaces in a row, where there are more of them than one piece has.

SentencePiece takes the longest piece first. HF's BPE joins them by its list of merges, and the list of
transformers 5 makes 16 and 16 of 32, where that of transformers 4 makes 31 and 1.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tokenizers
from numpy.typing import NDArray

from gemwire_server.text.sentencepiece_model import SPACE


class SpaceRuns:
    """`pieces` has the ids of one space and of every run that is a piece. Thread-safe."""

    def __init__(self, pieces: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> None:
        self.longest = max(map(len, pieces))
        self._one = pieces[SPACE]
        bpe = tokenizers.models.BPE(vocab=dict(pieces), merges=list(merges))
        self._tokenizer = tokenizers.Tokenizer(bpe)
        self._pieces = pieces

    @property
    def whole(self) -> bool:
        """Whether a run that is a piece becomes that piece."""
        return all(self._tokenizer.encode(run).ids == [i] for run, i in self._pieces.items())

    def split(self, length: int) -> tuple[int, NDArray[np.int32], int]:
        """Returns the spaces left for the text before, the ids of the run, and the spaces left for
        the text after.

        A lone space at an end may become one piece with its neighbours.
        """
        ids = self._tokenizer.encode(SPACE * length).ids
        before, after = int(ids[0] == self._one), int(ids[-1] == self._one)
        return before, np.array(ids[before : len(ids) - after], np.int32), after
