"""/tokenize and /decode."""

from collections.abc import Awaitable, Iterable, Sequence
from functools import partial

import orjson

from gemwire_server.dialects.tei.tokens import Tokens
from gemwire_server.fronts.http.tei import answers
from gemwire_server.fronts.http.tei.requests import (
    read_flag,
    read_id_batches,
    read_name,
    read_object,
    read_texts,
)
from gemwire_server.service.call import Call
from gemwire_server.service.service import Service

# Brackets and comma: bytes of an answer beside a text's part of it.
BESIDE_PART = 2


class TokenRoutes:
    """Turns the texts of a request into tokens, and tokens into text."""

    def __init__(self, service: Service, tokens: Tokens, *, max_values: int) -> None:
        self._service = service
        self._tokens = tokens
        self._max_values = max_values

    async def tokenize(self, raw: bytes, call: Call) -> bytes:
        body = read_object(raw, self._max_values)
        texts = read_texts(body.get("inputs"), self._service.max_inputs)
        prompt_name = read_name(body, "prompt_name")
        special = read_flag(body, "add_special_tokens", True)

        async def part(text: str) -> bytes:
            found = await self._tokens.tokenize(text, prompt_name, call, add_special_tokens=special)
            return await self._service.run(partial(answers.tokens, found), len(found.ids))

        return await self._array(map(part, texts))

    async def decode(self, raw: bytes, call: Call) -> bytes:
        body = read_object(raw, self._max_values)
        batches = read_id_batches(body.get("ids"), self._service.max_inputs)
        skip = read_flag(body, "skip_special_tokens", True)

        async def part(ids: Sequence[int]) -> bytes:
            return orjson.dumps(await self._tokens.decode(ids, call, skip_special_tokens=skip))

        return await self._array(map(part, batches))

    async def _array(self, parts: Iterable[Awaitable[bytes]]) -> bytes:
        """The array of parts that are made one after the other. Raises InvalidInput for too large an
        answer before more is made."""
        made: list[bytes] = []
        size = 0
        for part in parts:
            made.append(await part)
            size += len(made[-1]) + BESIDE_PART
            self._tokens.check_answer(size)
        return answers.array(made)
