"""Turns a text into token ids, with its prompt and special tokens, cut to the model's window."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gemwire_server.errors import InvalidInput
from gemwire_server.text.backends import Backend, load_backend
from gemwire_server.text.pieces import piece_bytes
from gemwire_server.text.special_tokens import read_special_tokens, textless_ids
from gemwire_server.text.tokenizer_files import read_files, without_garbage_collection

# Characters tokenized past the most that a window can hold: where a text is cut changes the tokens
# next to the cut, and these are thrown away.
SLACK = 1024


class Truncation(enum.Enum):
    """Which part of a text that is longer than the window is kept."""

    ERROR = "error"
    END = "end"
    START = "start"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A model input, special tokens included. ids: int32 [T].

    spans: uint32 [T, 2], begin and end of each token in UTF-8 of the text, if they were asked for. Both
    are 0 for a token of the prompt, and for a special token that the text does not spell.
    """

    ids: NDArray[np.int32]
    truncated: bool
    spans: NDArray[np.uint32] | None = None


class Tokenizer:
    """A checkpoint's tokenizer for inputs of at most `max_tokens`. Thread-safe.

    Its ids are those of HF `tokenizers` on the checkpoint's tokenizer.json.
    """

    def __init__(
        self,
        backend: Backend,
        special: tuple[Sequence[int], Sequence[int]],
        *,
        max_tokens: int,
        vocab_size: int,
        textless: frozenset[int] = frozenset(),
    ) -> None:
        """`special` are the ids before and after a text; `textless` those of all special tokens."""
        self.max_tokens = max_tokens
        self._backend = backend
        self._before, self._after = (np.array(ids, dtype=np.int32) for ids in special)
        self._vocab_size = vocab_size
        self._textless = textless
        self._room = max_tokens - len(self._before) - len(self._after)
        self.max_characters = max_tokens * backend.longest
        """No text with more characters, its prompt's too, can fit: it is not tokenized whole."""
        # The fewest tokens of that many characters and SLACK, apart from white space that some tokens take.
        self._fewest = max_tokens + SLACK // backend.longest

    @classmethod
    def load(
        cls, directory: Path, *, max_tokens: int, vocab_size: int, lower: bool = False
    ) -> "Tokenizer":
        """Reads the tokenizer files of a folder. With `lower` texts are lowercased.

        Raises CheckpointError if they are missing, contradict each other or are not implemented.
        """
        with without_garbage_collection():
            files = read_files(directory, vocab_size)
            backend = load_backend(files, vocab_size, lower=lower)
            special = read_special_tokens(files, backend, vocab_size)
            textless = textless_ids(files, backend, vocab_size)
        return cls(
            backend, special, max_tokens=max_tokens, vocab_size=vocab_size, textless=textless
        )

    def encode(
        self,
        text: str,
        *,
        prompt: str = "",
        truncation: Truncation | None = Truncation.ERROR,
        spans: bool = False,
    ) -> Encoded:
        """Tokenizes prompt and text as one string.

        START keeps the prompt and the text's last tokens. None cuts nothing: the ids may be more
        than `max_tokens`, to be shown and not to be computed. `spans` asks for the places of the tokens.

        Raises InvalidInput: EMPTY_TEXT, INVALID_TEXT, PROMPT_TOO_LONG and, unless the text is to be
        cut, TEXT_TOO_LONG; a text that by its size alone cannot fit is not tokenized, not even for
        None.
        """
        if not text:
            raise InvalidInput("EMPTY_TEXT", "the text is empty")
        if len(prompt) > self.max_characters:
            raise self._prompt_too_long()
        characters = len(prompt) + len(text)
        oversized = characters > self.max_characters
        if oversized and truncation in (Truncation.ERROR, None):
            raise self._too_many_characters(characters)
        most = self.max_characters + SLACK
        head, tail = text[:most], text[-most:]
        if self._backend.strips and len(text) > most:
            # White space at a cut may belong to a token beyond it.
            head, tail = head.rstrip(), tail.lstrip()
        joint = self._encode(prompt + head)
        end = joint
        if oversized and truncation is Truncation.START:
            end = self._encode(tail)
        if len(text) > most and min(len(joint), len(end)) < self._fewest:
            raise self._too_many_characters(characters)
        encoded = self._fit(joint, end, prompt, truncation)
        if not spans:
            return encoded
        # The tokens that follow those of the prompt are of prompt and text, or of the end of the text.
        source, tokens, begin = prompt + head, joint, -len(prompt.encode())
        lead, first = 0, 0
        if encoded.truncated and truncation is Truncation.START:
            lead = len(self._encode(prompt))
            first = lead - self._room
            if oversized:
                before = text[: len(text) - len(tail)]
                source, tokens, begin = tail, end, len(before.encode("utf-8", "surrogatepass"))
        places = self._backend.spans(source, tokens)[first:] + begin
        return self._with_spans(encoded, lead, places)

    def _with_spans(self, encoded: Encoded, lead: int, places: NDArray[np.int64]) -> Encoded:
        """`places`, int64 [n, 2], are those of the tokens behind the first `lead`; the prompt, which is
        before the text, has negative ones.
        """
        first = len(self._before) + lead
        last = len(encoded.ids) - len(self._after)
        spans = np.zeros((len(encoded.ids), 2), np.uint32)
        spans[first:last] = np.maximum(places[: last - first], 0)
        return replace(encoded, spans=spans)

    def encode_ids(
        self,
        ids: Sequence[int],
        *,
        prompt: str = "",
        complete: bool = False,
        truncation: Truncation | None = Truncation.ERROR,
    ) -> Encoded:
        """Takes ids in place of a text; `complete` ones are the whole input, special tokens too.

        Raises InvalidInput as `encode` does, and TOKEN_ID_OUT_OF_RANGE.
        """
        if not complete and len(prompt) > self.max_characters:
            raise self._prompt_too_long()
        if truncation is Truncation.ERROR and len(ids) > self.max_tokens:
            raise self._too_long(len(ids))
        if truncation is None and len(ids) > self.max_characters:
            raise self._too_long(len(ids))
        if not len(ids):
            raise InvalidInput("EMPTY_TEXT", "there are no token ids")
        # One id more than fits shows that the input is cut; the rest need not be read.
        if truncation is Truncation.END:
            ids = ids[: self.max_tokens + 1]
        elif truncation is Truncation.START:
            ids = ids[-self.max_tokens - 1 :]
        given = self._checked(ids)
        if not complete:
            joint = np.concatenate((self._encode(prompt), given))
            return self._fit(joint, given, prompt, truncation)
        if len(given) <= self.max_tokens or truncation is None:
            return Encoded(given, truncated=False)
        if truncation is Truncation.ERROR:
            raise self._too_long(len(given))
        end = truncation is Truncation.END
        return Encoded(given[: self.max_tokens] if end else given[-self.max_tokens :], True)

    def pieces(self, ids: Sequence[int] | NDArray[np.int32]) -> list[str]:
        """Returns the piece of each id, with "▁" for a space; "" for an id that has none."""
        return [self._backend.piece_of(int(token)) for token in ids]

    def text_bytes(
        self, ids: Sequence[int], *, keep_special_tokens: bool = False, first: int = 0
    ) -> bytes:
        """Returns the UTF-8 that the ids stand for; without the last ids of a text it may end within a
        character.

        Raises InvalidInput TOKEN_ID_OUT_OF_RANGE, which counts the ids from `first` on.
        """
        given = self._checked(ids, first).tolist()
        textless, piece_of = self._textless, self._backend.piece_of
        return b"".join(
            [
                piece_bytes(piece_of(token))
                for token in given
                if keep_special_tokens or token not in textless
            ]
        )

    def _checked(self, ids: Sequence[int], first: int = 0) -> NDArray[np.int32]:
        given = np.asarray(ids, dtype=np.int64)
        bad = (given < 0) | (given >= self._vocab_size)
        if bad.any():
            index = int(bad.argmax())
            raise InvalidInput(
                "TOKEN_ID_OUT_OF_RANGE",
                f"token {first + index} is {given[index]}; ids are 0 to {self._vocab_size - 1}",
                index=first + index,
                limit=self._vocab_size,
            )
        return given.astype(np.int32)

    def _fit(
        self,
        joint: NDArray[np.int32],
        end: NDArray[np.int32],
        prompt: str,
        truncation: Truncation | None,
    ) -> Encoded:
        """Cuts `joint`, the tokens of prompt and text, to the window; `end` are the text's last tokens."""
        fits = len(joint) <= self._room
        if not fits and truncation is not None:
            prompt_ids = self._encode(prompt)
            if len(prompt_ids) >= self._room:
                raise self._prompt_too_long()
            if truncation is Truncation.ERROR:
                raise self._too_long(len(self._before) + len(joint) + len(self._after))
            if truncation is Truncation.END:
                joint = joint[: self._room]
            else:
                joint = np.concatenate((prompt_ids, end[len(prompt_ids) - self._room :]))
        ids = np.concatenate((self._before, joint, self._after))
        return Encoded(ids, truncated=not fits and truncation is not None)

    def _encode(self, text: str) -> NDArray[np.int32]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            index = error.start
        else:
            return self._backend.encode(text)
        # Raised outside of the handler, as the first error holds the text.
        raise InvalidInput(
            "INVALID_TEXT", f"character {index} of prompt and text is half a surrogate pair"
        )

    def _too_long(self, tokens: int) -> InvalidInput:
        return InvalidInput(
            "TEXT_TOO_LONG",
            f"the text has {tokens} tokens with its prompt and special tokens; the model's window "
            f"is {self.max_tokens}",
            tokens=tokens,
            limit=self.max_tokens,
        )

    def _too_many_characters(self, characters: int) -> InvalidInput:
        return InvalidInput(
            "TEXT_TOO_LONG",
            f"the text and its prompt have {characters} characters, which are more than the "
            f"{self.max_tokens} tokens of the model's window",
            characters=characters,
            limit=self.max_tokens,
        )

    def _prompt_too_long(self) -> InvalidInput:
        return InvalidInput(
            "PROMPT_TOO_LONG",
            f"the prompt fills the model's window of {self.max_tokens} tokens",
            limit=self.max_tokens,
        )
