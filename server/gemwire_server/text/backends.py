"""The two libraries that make token ids, behind one interface.

HF's reads tokenizer.json, which decides. SentencePiece on tokenizer.model is faster, and is taken
where it gives the same ids for every text.

Both change " " to "▁", lowercase where the checkpoint asks for it, change nothing else, and fall
back to bytes. A checkpoint that does otherwise is refused: a text could then have more characters
than its tokens account for.
"""

import itertools
import logging
import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import sentencepiece
import tokenizers
from numpy.typing import NDArray

from gemwire_server.errors import CheckpointError
from gemwire_server.text.agreement import Disagreement, agree, uncertain
from gemwire_server.text.pieces import piece_bytes
from gemwire_server.text.sentencepiece_model import KIND, SPACE, Pieces
from gemwire_server.text.space_runs import SpaceRuns
from gemwire_server.text.spans import (
    character_bytes,
    spans_of_lengths,
    spans_of_offsets,
    without_overlaps,
)
from gemwire_server.text.tokenizer_files import BYTES, TokenizerFiles, parse

log = logging.getLogger(__name__)

# EmbeddingGemma's own, for Gemma's pictures: the only token that may lack a row.
IMAGE = "<image_soft_token>"


class Backend(Protocol):
    """Thread-safe. `size` counts the pieces, `longest` the characters of the longest one.

    With `strips`, white space beside some token belongs to it, however long it is. `special` are the
    ids that its own file marks as special tokens.
    """

    size: int
    longest: int
    strips: bool
    special: frozenset[int]

    def encode(self, text: str) -> NDArray[np.int32]:
        """Token ids [T] without special tokens; a text that spells a special token gives its id."""
        ...

    def spans(self, text: str, ids: NDArray[np.int32]) -> NDArray[np.int64]:
        """Begin and end of each token in UTF-8 of the text, int64 [T, 2]; `ids` are those of the text."""
        ...

    def id_of(self, piece: str) -> int | None: ...

    def piece_of(self, token: int) -> str: ...


def load_backend(files: TokenizerFiles, vocab_size: int, *, lower: bool = False) -> Backend:
    """Returns the engine for a folder's files. Raises CheckpointError.

    With `lower`, or where tokenizer.json asks for it, a text is lowercased, but for special tokens
    that it spells.
    """
    path = files.path("tokenizer.json")
    backend: Backend | None
    if (tokenizer := files.tokenizer) is None:
        path = files.path("tokenizer.model")
        backend = _from_model_alone(files, path, vocab_size, lower)
    else:
        lower = lower or files.lower
        backend = _from_model(files, tokenizer, vocab_size, lower)
        backend = backend or HuggingFaceBackend(files, tokenizer, vocab_size, lower)
    if backend.size > vocab_size:
        raise CheckpointError(f"{path}: {backend.size} pieces; the model has {vocab_size} tokens")
    if tokenizer is not None:
        split = files.split_special_tokens
        added = {token.content for token in files.added if token.special or not split}
        files.check_special_tokens(added, tokenizer["model"]["vocab"], vocab_size)
    rowless = [token.content for token in files.added if token.id >= vocab_size]
    if rowless and rowless != [IMAGE]:
        log.warning(
            "%s: these added tokens have no row in the model's embedding and are read as text: %s",
            files.directory,
            ", ".join(rowless),
        )
    return backend


def _from_model_alone(
    files: TokenizerFiles, path: Path, vocab_size: int, lower: bool
) -> "SentencePieceBackend":
    pieces = Pieces.read(path)
    symbols = pieces.symbols
    reason = uncertain(pieces, lower=lower)
    if files.split_special_tokens:
        reason = "split_special_tokens is true"
    for token in files.added:
        if token.id < vocab_size and (symbols.get(token.content) != token.id or not token.plain):
            reason = f"the added token {token.content!r} is not there, or not as it is added"
    if reason is not None:
        raise CheckpointError(
            f"{path}: {reason}: not implemented without a tokenizer.json; save the tokenizer with "
            "save_pretrained"
        )
    files.check_special_tokens(symbols, pieces.ids, vocab_size)
    return SentencePieceBackend(pieces, lower=lower)


def _from_model(
    files: TokenizerFiles, tokenizer: dict[str, Any], vocab_size: int, lower: bool
) -> "SentencePieceBackend | None":
    """Returns SentencePiece on the tokenizer.model beside a tokenizer.json, if both give the same ids."""
    path = files.path("tokenizer.model")
    if not path.exists():
        return None
    try:
        if files.split_special_tokens:
            raise Disagreement("split_special_tokens is true")
        pieces = Pieces.read(path)
        runs = agree(pieces, tokenizer["model"], files.added, vocab_size, lower=lower)
        return SentencePieceBackend(pieces, runs, lower=lower)
    except (CheckpointError, Disagreement) as error:
        reason = str(error)
    log.info(
        "%s: tokenizer.json decides; tokenizer.model may give other ids and is not used: %s",
        files.directory,
        reason,
    )
    return None


def lowered(text: str) -> str:
    """Lowercases letter by letter, as HF's Lowercase does: `str.lower` looks at a sigma's neighbours."""
    return text.lower() if text.isascii() else "".join(lowered_letters(text))


def lowered_letters(text: str) -> list[str]:
    """What `lowered` makes of each character."""
    return [letter.lower() for letter in text]


class SentencePieceBackend:
    """With `runs`, spaces in a row that are no piece become what those say."""

    strips = False

    def __init__(
        self, pieces: Pieces, runs: SpaceRuns | None = None, *, lower: bool = False
    ) -> None:
        self._lower = lower
        self._runs = runs
        self._model = sentencepiece.SentencePieceProcessor(model_proto=pieces.serialized)
        self.size = len(pieces.names)
        self.longest = max(map(len, pieces.names))
        self.special = frozenset(pieces.named(KIND.CONTROL, KIND.UNKNOWN).values())
        # SentencePiece reads a control piece as the characters it is spelled with, and "▁" as a
        # space; HF tokenizers, with which the model is used and was trained, take both literally.
        literal = pieces.named(KIND.CONTROL, KIND.UNKNOWN) | pieces.runs
        self._literals = {name: np.array([i], np.int32) for name, i in literal.items()}
        patterns = [re.escape(name) for name in sorted(literal, key=len, reverse=True)]
        self._split = re.compile(f"({'|'.join(patterns)})").split
        # Texts with such runs are few, and a search for them takes longer than to make ids.
        self._long = " " * (runs.longest + 1) if runs is not None else ""
        patterns.append(f"(?:(?!{SPACE * 2})[ {SPACE}]){{{len(self._long)},}}")
        self._split_runs = re.compile(f"({'|'.join(patterns)})").split

    def encode(self, text: str) -> NDArray[np.int32]:
        if self._runs is not None and (self._long in text or SPACE in text):
            return self._encode_parts(self._split_runs(text), self._runs)
        parts = self._split(text)
        return self._encode(text) if len(parts) == 1 else self._encode_parts(parts, None)

    def _encode_parts(self, parts: list[str], runs: SpaceRuns | None) -> NDArray[np.int32]:
        """Every second part is a literal or, with `runs`, a run of spaces that is no piece."""
        found: list[NDArray[np.int32]] = []
        left = ""
        for part, between in zip(parts[::2], [*parts[1::2], ""], strict=True):
            ids, after = self._literals.get(between), ""
            if between and ids is None and runs is not None:
                before, ids, count = runs.split(len(between))
                part, after = part + " " * before, " " * count
            # Often nothing lies between two literals, and a text may hold thousands.
            if left or part:
                found.append(self._encode(left + part))
            if ids is not None:
                found.append(ids)
            left = after
        return np.concatenate(found) if found else self._encode("")

    def spans(self, text: str, ids: NDArray[np.int32]) -> NDArray[np.int64]:
        lengths = [len(piece_bytes(self.piece_of(token))) for token in ids.tolist()]
        own = character_bytes(text)
        return spans_of_lengths(own, self._bytes_read(text, own), np.array(lengths, np.int64))

    def _bytes_read(self, text: str, own: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bytes that `piece_bytes` has for each character, int64 [characters]."""
        read = own
        if self._lower:
            parts = self._split(text)  # every second one is a special token, which is not lowered
            letters = [lowered_letters(p) if i % 2 == 0 else p for i, p in enumerate(parts)]
            read = np.array([len(c.encode()) for c in itertools.chain(*letters)], np.int64)
        if SPACE in text:
            read = read.copy()
            read[np.array([c == SPACE for c in text])] = 1
        return read

    def _encode(self, text: str) -> NDArray[np.int32]:
        ids: NDArray[np.int32] = self._model.encode_as_numpy(lowered(text) if self._lower else text)
        return ids

    def id_of(self, piece: str) -> int | None:
        token: int = self._model.piece_to_id(piece)  # an unknown piece's is <unk>'s
        return token if self._model.id_to_piece(token) == piece else None

    def piece_of(self, token: int) -> str:
        return str(self._model.id_to_piece(token)) if token < self.size else ""


class HuggingFaceBackend:
    def __init__(
        self, files: TokenizerFiles, raw: dict[str, Any], vocab_size: int, lower: bool = False
    ) -> None:
        path = files.path("tokenizer.json")
        # A token past the embedding (EmbeddingGemma's <image_soft_token>) has no row in it.
        added = [token for token in files.added if token.id < vocab_size]
        vocabulary = raw["model"]["vocab"]
        self.size = max(*vocabulary.values(), *(token.id for token in added)) + 1
        self.longest = max(*map(len, vocabulary), *(len(token.content) for token in added))
        self.strips = any(token.lstrip or token.rstrip for token in added)
        self.special = frozenset(token.id for token in added if token.special)
        kept = [token for token in raw["added_tokens"] if token["id"] < vocab_size]
        edited = None if kept == raw["added_tokens"] else raw | {"added_tokens": kept}
        self._tokenizer = parse(path, edited)
        self._tokenizer.encode_special_tokens = files.split_special_tokens
        if lower and not files.lower:
            # After loading, as sentence-transformers does it: added tokens are not lowered.
            self._tokenizer.normalizer = tokenizers.normalizers.Sequence(
                [tokenizers.normalizers.Lowercase(), self._tokenizer.normalizer]
            )
        for token in added:
            if (found := self._tokenizer.token_to_id(token.content)) != token.id:
                raise CheckpointError(
                    f"{path}: the added token {token.content!r} has id {token.id}, but tokenizers "
                    f"reads it as {found}: ids of added tokens follow the vocabulary without a gap"
                )

    def encode(self, text: str) -> NDArray[np.int32]:
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int32)

    def spans(self, text: str, ids: NDArray[np.int32]) -> NDArray[np.int64]:
        found = self._tokenizer.encode(text, add_special_tokens=False)
        are_bytes = [token in BYTES for token in found.tokens]
        spans = spans_of_offsets(character_bytes(text), found.offsets, are_bytes)
        return without_overlaps(spans) if self.strips else spans

    def id_of(self, piece: str) -> int | None:
        return self._tokenizer.token_to_id(piece)

    def piece_of(self, token: int) -> str:
        return self._tokenizer.id_to_token(token) or ""
