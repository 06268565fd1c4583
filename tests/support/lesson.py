"""A small corpus to train on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gemwire_training.corpus import Corpus
from gemwire_training.vocabulary import Tokenized


@dataclass(frozen=True)
class Lesson:
    """A corpus in tokens, and random unit vectors in the teacher's place."""

    corpus: Corpus
    tokens: Tokenized
    vocabulary: Path
    vectors: NDArray[np.float32]
    words: NDArray[np.int8]
