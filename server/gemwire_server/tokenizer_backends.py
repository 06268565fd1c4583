"""The two libraries that make token ids, behind one face; and what a checkpoint puts around a text.

Both leave text as it is but for " " → "▁" and, where the checkpoint says so, small letters, and fall
back to bytes. A checkpoint that does otherwise is refused: a text could then be longer, in characters,
than its tokens say.
"""

import json
import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import sentencepiece
import tokenizers
from numpy.typing import NDArray
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from gemwire_server.errors import CheckpointError

SPACE = "▁"
TO_SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
LOWERCASE = {"type": "Lowercase"}


class Backend(Protocol):
    """Thread-safe. `size` counts the pieces, `longest` the characters of the longest one."""

    size: int
    longest: int

    def encode(self, text: str) -> NDArray[np.int32]:
        """Token ids [T] without special tokens; a text that spells a special token gives its id."""
        ...

    def id_of(self, piece: str) -> int | None: ...

    def piece_of(self, token: int) -> str: ...


def load_backend(directory: Path, vocab_size: int, *, lower: bool = False) -> Backend:
    """tokenizer.model if there is one, else tokenizer.json. Raises CheckpointError.

    With `lower`, or where tokenizer.json says so, as sentence-transformers 5.4 and newer save it, a text
    is read in small letters, but for special tokens that it spells.
    """
    backend: Backend
    converted = directory / "tokenizer.json"
    if (model := directory / "tokenizer.model").exists():
        lower = lower or (converted.exists() and _lowercases(read_json(converted)))
        backend, path = SentencePieceBackend(model, lower), model
    elif converted.exists():
        backend, path = HuggingFaceBackend(converted, vocab_size, lower), converted
    else:
        raise CheckpointError(f"{directory}: neither tokenizer.model nor tokenizer.json is here")
    if backend.size > vocab_size:
        raise CheckpointError(f"{path}: {backend.size} pieces; the model has {vocab_size} tokens")
    return backend


def _lowercases(raw: dict[str, Any]) -> bool:
    """Whether a tokenizer.json has a text read in small letters."""
    return LOWERCASE in _normalizers(raw.get("normalizer"))


def _normalizers(normalizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a tokenizer.json's normalizer."""
    if normalizer is None:
        return []
    return normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]


def lowered(text: str) -> str:
    """Letter by letter, as HF's Lowercase: `str.lower` looks at a sigma's neighbours."""
    return text.lower() if text.isascii() else "".join(map(str.lower, text))


class SentencePieceBackend:
    def __init__(self, path: Path, lower: bool = False) -> None:
        self._lower = lower
        serialized = path.read_bytes()
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=serialized)
        except RuntimeError:
            raise CheckpointError(f"{path}: not a SentencePiece model") from None
        proto = ModelProto.FromString(serialized)
        normalizer = proto.normalizer_spec
        if normalizer.precompiled_charsmap or normalizer.remove_extra_whitespaces:
            raise CheckpointError(f"{path}: a normalization of text is not implemented")
        if normalizer.add_dummy_prefix or proto.trainer_spec.treat_whitespace_as_suffix:
            raise CheckpointError(f"{path}: a space put before or after text is not implemented")
        if not proto.trainer_spec.byte_fallback:
            raise CheckpointError(f"{path}: a vocabulary without byte_fallback is not implemented")
        kind = ModelProto.SentencePiece
        self.size = len(proto.pieces)
        self.longest = max(len(piece.piece) for piece in proto.pieces)
        # SentencePiece reads a control piece as the characters it is spelled with, and "▁" as a
        # space; HF tokenizers, with which the model is used and was trained, take both literally.
        literal = [
            piece.piece
            for piece in proto.pieces
            if piece.type in (kind.CONTROL, kind.UNKNOWN)
            or (piece.type == kind.USER_DEFINED and SPACE in piece.piece)
        ]
        self._literals = {
            piece: np.array([self._model.piece_to_id(piece)], dtype=np.int32) for piece in literal
        }
        longest_first = sorted(literal, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, longest_first))})").split

    def encode(self, text: str) -> NDArray[np.int32]:
        parts = self._split(text)
        if len(parts) == 1:
            return self._encode(text)
        # Parts between literals are often empty, and a text may hold thousands.
        return np.concatenate(
            [
                self._literals[part] if i % 2 else self._encode(part)
                for i, part in enumerate(parts)
                if part
            ]
        )

    def _encode(self, text: str) -> NDArray[np.int32]:
        ids: NDArray[np.int32] = self._model.encode_as_numpy(lowered(text) if self._lower else text)
        return ids

    def id_of(self, piece: str) -> int | None:
        token: int = self._model.piece_to_id(piece)  # an unknown piece's is <unk>'s
        return token if self._model.id_to_piece(token) == piece else None

    def piece_of(self, token: int) -> str:
        return str(self._model.id_to_piece(token)) if token < self.size else ""


class HuggingFaceBackend:
    def __init__(self, path: Path, vocab_size: int, lower: bool = False) -> None:
        raw = read_json(path)
        try:
            model, steps = raw["model"], _normalizers(raw["normalizer"])
            # A token past the embedding (EmbeddingGemma's <image_soft_token>) has no row in it.
            raw["added_tokens"] = [t for t in raw["added_tokens"] if t["id"] < vocab_size]
            if model["type"] != "BPE" or not model["byte_fallback"]:
                raise CheckpointError(f"{path}: only BPE with byte_fallback is implemented")
            if [step for step in steps if step != LOWERCASE] != [TO_SPACE]:
                raise CheckpointError(
                    f"{path}: only the normalizer ' ' to '{SPACE}' is implemented, and Lowercase"
                )
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: not a tokenizer.json: {error!r}") from None
        if lower or LOWERCASE in steps:
            raw["normalizer"] = {"type": "Sequence", "normalizers": [LOWERCASE, TO_SPACE]}
        self._tokenizer = _parse(path, raw)
        vocab = self._tokenizer.get_vocab()
        self.size = max(vocab.values()) + 1
        self.longest = max(map(len, vocab))

    def encode(self, text: str) -> NDArray[np.int32]:
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int32)

    def id_of(self, piece: str) -> int | None:
        return self._tokenizer.token_to_id(piece)

    def piece_of(self, token: int) -> str:
        return self._tokenizer.id_to_token(token) or ""


def read_special_tokens(directory: Path, backend: Backend) -> tuple[Sequence[int], Sequence[int]]:
    """The ids put before and after a text.

    tokenizer_config.json decides if it has a word on it, as in transformers; else tokenizer.json's
    post-processor. Raises CheckpointError if neither does.
    """
    path = directory / "tokenizer_config.json"
    config = read_json(path) if path.exists() else {}
    if "add_bos_token" in config or "add_eos_token" in config:
        return _configured(path, config, "bos", backend), _configured(path, config, "eos", backend)
    path = directory / "tokenizer.json"
    if not path.exists():
        raise CheckpointError(
            f"{directory}: which special tokens go around a text is said neither by "
            "tokenizer_config.json (add_bos_token, add_eos_token) nor by a tokenizer.json"
        )
    probe = _parse(path, read_json(path)).encode("a")
    marks = list(zip(probe.ids, probe.special_tokens_mask, strict=True))
    before, after = (
        [token for token, _ in takewhile(lambda mark: mark[1], side)]
        for side in (marks, reversed(marks))
    )
    return before, after[::-1]


def _configured(path: Path, config: dict[str, Any], name: str, backend: Backend) -> Sequence[int]:
    if not config.get(f"add_{name}_token"):
        return ()
    token = config.get(f"{name}_token")
    if isinstance(token, dict):
        token = token.get("content")
    if not isinstance(token, str):
        raise CheckpointError(f"{path}: add_{name}_token is true, but there is no {name}_token")
    if (number := backend.id_of(token)) is None:
        raise CheckpointError(f"{path}: {name}_token {token!r} is not in the vocabulary")
    return (number,)


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: a JSON object is expected")
    return value


def _parse(path: Path, raw: dict[str, Any]) -> tokenizers.Tokenizer:
    # Saved with a length, the tokenizer would cut and pad by itself.
    raw = raw | {"truncation": None, "padding": None}
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(raw))
    except Exception as error:  # the library raises no narrower type
        raise CheckpointError(f"{path}: not a tokenizer.json: {error}") from None
