"""TEI's embed, embed_all and similarity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gemwire_server.dialects.tei.metadata import Metadata
from gemwire_server.dialects.tei.requests import Checked, Checks, TextOptions
from gemwire_server.service.call import Call
from gemwire_server.service.embedder import raise_first_error
from gemwire_server.service.service import Service
from gemwire_server.service.vectors import cut

Text = str | Sequence[int]
"""A text, or the token ids that stand for it."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """fp32 [n, dimensions], and what they cost."""

    vectors: NDArray[np.float32]
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class EmbeddedTokens:
    """For each text fp32 [T, hidden], and what they cost."""

    rows: list[NDArray[np.float32]]
    metadata: Metadata


class Embedding:
    """Embeds the texts of a request, which succeeds or fails as a whole."""

    def __init__(self, service: Service, checks: Checks) -> None:
        self._service = service
        self._checks = checks

    async def embed(self, texts: Sequence[Text], options: TextOptions, call: Call) -> Embedded:
        """Raises the first text's error, in TEI's order of checks."""
        checked = await self._check(texts, options, call)
        await self._raise_late(checked, call)
        form = checked[0].options
        results, timing = await self._service.embed(
            [each.input for each in checked], form, call, _paths(checked), all_or_none=True
        )
        metadata = Metadata.of(_characters(checked), results.token_counts.tolist(), timing)
        return Embedded(cut(results.vectors, form.vectors), metadata)

    async def embed_all(
        self, texts: Sequence[Text], options: TextOptions, call: Call, *, token_bytes: int
    ) -> EmbeddedTokens:
        """The final hidden states of the tokens of each text, of which a token has up to `token_bytes` in
        the answer. Raises as `embed`, and InvalidInput for more than an answer may have."""
        checked = await self._check(texts, options, call)
        results, timing = await self._service.embed_tokens(
            [each.input for each in checked],
            checked[0].options,
            call,
            _paths(checked),
            token_bytes=token_bytes,
        )
        results.raise_first_error()
        metadata = Metadata.of(_characters(checked), results.token_counts.tolist(), timing)
        return EmbeddedTokens([rows for rows in results.rows if rows is not None], metadata)

    async def similarity(
        self, source: str, sentences: Sequence[str], options: TextOptions, call: Call
    ) -> tuple[NDArray[np.float32], Metadata]:
        """The cosine of each sentence with the source, fp32 [n]. Raises as `embed`."""
        checked = await self._check((source, *sentences), options, call)
        of_all = checked[0].options
        inputs = [each.input for each in checked]
        results, timing = await self._service.similarity(
            inputs[0], inputs[1:], (of_all, of_all), call
        )
        if results.errors:
            raise results.errors[min(results.errors)]
        return results.scores, Metadata.of(_characters(checked), [call.tokens], timing)

    async def _check(
        self, texts: Sequence[Text], options: TextOptions, call: Call
    ) -> list[Checked]:
        """The texts as the service gets them. Ids become text, as in TEI, which is tokenized anew: their
        prompt joins them as it does a text. Ids that the vocabulary lacks are left out."""
        vocabulary = self._service.model.vocabulary_size
        checked = []
        for text in texts:
            if not isinstance(text, str):
                ids = [token for token in text if token < vocabulary]
                parts = self._service.detokenize(ids, call, keep_special_tokens=True)
                text = "".join([part async for part in parts])
            checked.append(self._checks.check(text, options))
        return checked

    async def _raise_late(self, checked: Sequence[Checked], call: Call) -> None:
        """Raises for sizes that the model does not have, as TEI does once it has the tokens; TEI has then
        computed them too."""
        late = checked[0].late
        if late is None:
            return
        inputs = [each.input for each in checked]
        options = checked[0].options
        raise_first_error(
            await self._service.embedder.tokenize(inputs, options, call, _paths(checked))
        )
        raise late


def _characters(checked: Sequence[Checked]) -> int:
    return sum(each.characters for each in checked)


def _paths(checked: Sequence[Checked]) -> list[str]:
    return [f"inputs[{i}]" for i in range(len(checked))]
