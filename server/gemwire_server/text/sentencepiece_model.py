"""Reads a tokenizer.model: a SentencePiece vocabulary, by id."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from gemwire_server.errors import CheckpointError

KIND = ModelProto.SentencePiece
SPACE = "▁"


@dataclass(frozen=True, slots=True)
class Pieces:
    """A vocabulary: names, kinds int32 [pieces] and scores float64 [pieces]; `serialized` is the
    whole file.
    """

    names: list[str]
    kinds: NDArray[np.int32]
    scores: NDArray[np.float64]
    serialized: bytes

    @classmethod
    def read(cls, path: Path) -> "Pieces":
        """Reads a file. Raises CheckpointError for a model that changes a text in a way that is not
        implemented.
        """
        serialized = path.read_bytes()
        try:
            model = ModelProto.FromString(serialized)
        except DecodeError:
            raise CheckpointError(f"{path}: not a SentencePiece model") from None
        if not model.pieces:
            raise CheckpointError(f"{path}: not a SentencePiece model")
        normalizer, trainer = model.normalizer_spec, model.trainer_spec
        if normalizer.precompiled_charsmap or normalizer.remove_extra_whitespaces:
            raise CheckpointError(f"{path}: a normalization of text is not implemented")
        if normalizer.add_dummy_prefix or trainer.treat_whitespace_as_suffix:
            raise CheckpointError(f"{path}: a space put before or after text is not implemented")
        if trainer.model_type != trainer.BPE or not trainer.byte_fallback:
            raise CheckpointError(f"{path}: only BPE with byte_fallback is implemented")
        rows = [(piece.piece, piece.type, piece.score) for piece in model.pieces]
        names, kinds, scores = zip(*rows, strict=True)
        return cls(list(names), np.array(kinds, np.int32), np.array(scores), serialized)

    @property
    def ids(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def named(self, *kinds: int) -> dict[str, int]:
        """Returns the ids of the pieces of some kinds, by name."""
        numbers = np.flatnonzero(np.isin(self.kinds, kinds)).tolist()
        return {self.names[number]: number for number in numbers}

    @property
    def symbols(self) -> dict[str, int]:
        """Returns the pieces that are one token wherever a text spells them."""
        return self.named(KIND.CONTROL, KIND.UNKNOWN, KIND.USER_DEFINED)

    @property
    def runs(self) -> dict[str, int]:
        """Returns the symbols that are runs of spaces, of two and more."""
        return {name: i for name, i in self.named(KIND.USER_DEFINED).items() if SPACE in name}
