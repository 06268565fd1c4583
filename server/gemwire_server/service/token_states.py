"""Computes the final hidden states of the tokens of texts, in bounded memory."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from gemwire_server.engine.interface import StepTiming
from gemwire_server.errors import response_too_large
from gemwire_server.service.call import Call
from gemwire_server.service.embedder import Embedder, check_quota, within_quota
from gemwire_server.service.requests import CheckedOptions, Input, Output
from gemwire_server.service.results import Timing, Tokenized, TokenResults, token_count
from gemwire_server.service.slots import Slots

# The states of a text are as large as the vectors of T texts: 6 MB at 2,048 tokens of 768 numbers. An
# engine does not wait until a process has read them, so the process asks for no more than 50 MB at once.
# Eight texts still keep a step of a GPU full.
MAX_TEXTS_AT_ONCE = 8


class TokenStates:
    """Computes token states for all calls of a process. At most MAX_TEXTS_AT_ONCE texts of theirs are in
    the engine; others wait, and the callers and their calls take turns."""

    def __init__(self, embedder: Embedder, *, max_response_bytes: int) -> None:
        self._embedder = embedder
        self._max_response_bytes = max_response_bytes
        self._slots = Slots(MAX_TEXTS_AT_ONCE)

    async def embed(
        self,
        inputs: Sequence[Input],
        options: CheckedOptions,
        call: Call,
        paths: Sequence[str],
        field: str,
        *,
        token_bytes: int = 0,
    ) -> tuple[TokenResults, Timing]:
        """As `Embedder.embed`, for the output TOKENS. Raises InvalidInput also for states of more bytes
        than an answer may have: `token_bytes` a token, with 0 those of its numbers alone."""
        options = replace(options, output=Output.TOKENS)
        check_quota(call)
        with self._embedder.admitted(inputs, options, call):
            tokenized = await self._embedder.tokenize(inputs, options, call, paths)
        tokenize_seconds = time.monotonic() - call.arrived
        self._check_size(token_count(tokenized), token_bytes, field)
        results = TokenResults.without_rows(tokenized)
        steps = await self._compute_within_quota(results, tokenized, options, call, field)
        return results, Timing.of(call.arrived, tokenize_seconds, steps)

    def _check_size(self, tokens: int, token_bytes: int, field: str) -> None:
        size = tokens * (token_bytes or self._embedder.model.hidden_size * 4)
        limit = self._max_response_bytes
        if size > limit:
            raise response_too_large(
                f"the states of {tokens} tokens can have {size} bytes",
                limit,
                "send fewer or shorter texts a call",
                field=field,
                tokens=tokens,
            )

    async def _compute_within_quota(
        self,
        results: TokenResults,
        tokenized: Sequence[Tokenized],
        options: CheckedOptions,
        call: Call,
        field: str,
    ) -> list[StepTiming]:
        with within_quota(call, token_count(tokenized), results.tokens_with_rows):
            return await self._compute(results, tokenized, options, call, field)

    async def _compute(
        self,
        results: TokenResults,
        tokenized: Sequence[Tokenized],
        options: CheckedOptions,
        call: Call,
        field: str,
    ) -> list[StepTiming]:
        """Computes each text in a submission of its own. A text that the engine refuses ends the call."""
        steps: list[StepTiming] = []

        async def compute(i: int, item: Tokenized) -> None:
            one = TokenResults.without_rows([item])
            steps.extend(await self._embedder.compute_into(one, [item], options, call, field))
            results.rows[i] = one.rows[0]
            if one.errors:
                results.errors[i] = one.errors[0]

        try:
            async with asyncio.TaskGroup() as group:
                for i, item in enumerate(tokenized):
                    # A call waits for one slot at a time, so that calls take turns.
                    await self._slots.take(call.caller.key, token_count([item]))
                    task = group.create_task(compute(i, item))
                    # A task that is cancelled before it begins would not run its own `finally`.
                    task.add_done_callback(lambda _: self._slots.give_back())
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return steps
