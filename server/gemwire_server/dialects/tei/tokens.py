"""TEI's tokenize and decode."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gemwire_server.dialects.tei.errors import refused
from gemwire_server.dialects.tei.requests import Checks
from gemwire_server.errors import InvalidInput
from gemwire_server.service.call import Call
from gemwire_server.service.requests import EmbedOptions, Input, PromptText
from gemwire_server.service.service import Service

# Bytes of an answer beside its text.
BESIDE_TEXT = 16


@dataclass(frozen=True, slots=True)
class TextTokens:
    """The tokens of a text. `names` has the name of each added token, by its place; `spans`, int64 [T, 2],
    are bytes of `source`, which is the UTF-8 of prompt and text."""

    ids: NDArray[np.int32]
    spans: NDArray[np.int64]
    source: bytes
    names: dict[int, str]

    def rows(self) -> Iterator[tuple[int, str, tuple[int, int] | None]]:
        """(id, text, first and last byte) of each token; an added token has no bytes."""
        for i, (token, (start, stop)) in enumerate(
            zip(self.ids.tolist(), self.spans.tolist(), strict=True)
        ):
            if (name := self.names.get(i)) is not None:
                yield token, name, None
            else:
                yield token, self.source[start:stop].decode(), (start, stop)


class Tokens:
    """Turns texts into tokens and tokens into text, for any API of TEI."""

    def __init__(self, service: Service, checks: Checks, *, max_response_bytes: int) -> None:
        self._service = service
        self._checks = checks
        self._options = service.check(EmbedOptions(prompt=PromptText("")))
        self._max_response_bytes = max_response_bytes

    async def tokenize(
        self, text: str, prompt_name: str | None, call: Call, *, add_special_tokens: bool
    ) -> TextTokens:
        """The tokens of prompt and text. Raises Refused and InvalidInput."""
        whole = self._checks.check_to_tokenize(text, prompt_name)
        tokenized = await self._service.tokenize(
            Input(whole), self._options, call, "inputs", spans=True
        )
        ids, spans = tokenized.ids, tokenized.spans
        assert spans is not None
        # Every token of the text has a byte or more of it; an added one has none.
        added = spans[:, 1] == 0
        if not add_special_tokens:
            ids, spans, added = ids[~added], spans[~added], added[~added]
        places = np.flatnonzero(added)
        names = dict(zip(places.tolist(), self._service.pieces(ids[places]), strict=True))
        source = whole.encode()
        return TextTokens(ids, whole_characters(source, spans), source, names)

    def check_answer(self, size: int) -> None:
        """Raises InvalidInput for more bytes than an answer may have."""
        if size > self._max_response_bytes:
            raise self._too_large("the texts of the request have")

    async def decode(self, ids: Sequence[int], call: Call, *, skip_special_tokens: bool) -> str:
        """The text of the ids; those that the vocabulary lacks are left out. Raises Refused where there are
        none, and InvalidInput for a text of more bytes than an answer may have."""
        if not len(ids):
            raise refused("EMPTY_TEXT", "`input_ids` cannot be empty", "ids")
        if len(ids) > self._max_response_bytes:  # most ids have a byte or more
            raise self._too_large(f"{len(ids)} ids have")
        vocabulary = self._service.model.vocabulary_size
        known = await self._service.run(
            lambda: [token for token in ids if token < vocabulary], len(ids)
        )
        parts: list[str] = []
        size = 0
        async for part in self._service.detokenize(
            known, call, keep_special_tokens=not skip_special_tokens
        ):
            size += len(part.encode())
            if size > self._max_response_bytes - BESIDE_TEXT:
                raise self._too_large(f"the text of {len(ids)} ids has")
            parts.append(part)
        return "".join(parts)

    def _too_large(self, what: str) -> InvalidInput:
        limit = self._max_response_bytes
        return InvalidInput(
            "RESPONSE_TOO_LARGE",
            f"{what} too many bytes for one answer; the server's --max-response-bytes is {limit}: send "
            "less at once",
            limit=limit,
        )


def whole_characters(source: bytes, spans: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The spans, [T, 2], widened to whole characters of UTF-8, int64 [T, 2]: a character of several tokens
    belongs to each of them."""
    inner = np.append(np.frombuffer(source, np.uint8), np.uint8(0)) & 0xC0 == 0x80
    whole = spans.astype(np.int64)
    for _ in range(3):  # bytes of a character after its first
        whole[:, 0] -= inner[whole[:, 0]]
        whole[:, 1] += inner[whole[:, 1]]
    return whole
