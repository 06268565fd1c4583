"""The texts of a stream on their way to the engine."""

import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

from gemwire_server.engine.delivery import stopped
from gemwire_server.engine.interface import StepTiming
from gemwire_server.errors import InvalidInput, Overloaded, QuotaExceeded, Stopped
from gemwire_server.service.call import Call
from gemwire_server.service.embedder import Embedder
from gemwire_server.service.requests import CheckedOptions
from gemwire_server.service.results import EmbedResults, Tokenized, token_count
from gemwire_server.text.tokenizer import Encoded

T = TypeVar("T")

# The longest wait before the next try, where nothing that this process computes leaves the queue.
LONGEST_WAIT_SECONDS = 1.0


class StreamFlow:
    """Waits for quota and for space in the queue, where a unary call would be refused."""

    def __init__(self, embedder: Embedder, call: Call, is_draining: Callable[[], bool]) -> None:
        self._embedder = embedder
        self._call = call
        self._is_draining = is_draining
        self._flow = (
            secrets.randbits(63) | 1
        )  # not UNARY_FLOW, and no other stream's in any process

    async def compute(
        self, tokenized: Sequence[Tokenized], options: CheckedOptions, field: str
    ) -> tuple[EmbedResults, list[StepTiming]]:
        """The results of the texts, and the steps that computed them. A refusal that waiting does not
        help is every text's error, which names `field`."""
        bucket = self._call.grant and self._call.grant.bucket
        tokens = token_count(tokenized)
        if bucket and tokens:
            await bucket.wait(tokens, self._is_draining)
        while True:
            try:
                return await self._embedder.compute(
                    tokenized, options, self._call, field, self._flow
                )
            except Overloaded as error:
                await self._wait_for_space(tokens, error)
            except (InvalidInput, Stopped) as error:
                if bucket:
                    bucket.give_back(tokens)
                refused = [error] * len(tokenized)
                return await self._embedder.compute(refused, options, self._call, field)

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of work that a refusal for want of quota or space leaves undone: it is tried again.

        Raises Stopped instead of waiting for quota where the server drains.
        """
        while True:
            try:
                return await work()
            except Overloaded as error:
                await self._wait_for_space(self._embedder.model.max_tokens, error)
            except QuotaExceeded:
                bucket = self._call.grant and self._call.grant.bucket
                if not bucket:
                    raise
                if self._is_draining():
                    raise not_computed() from None
                await bucket.wait(0, self._is_draining)

    async def _wait_for_space(self, tokens: int, error: Overloaded) -> None:
        patience = min(error.retry_after / 2, LONGEST_WAIT_SECONDS)
        await self._embedder.queue_space.wait(tokens, patience)


def not_computed() -> Stopped:
    """The error of a text that reaches a server that drains."""
    return stopped()


def groups(tokenized: Sequence[Tokenized], max_tokens: int, max_texts: int) -> Iterator[slice]:
    """Up to `max_texts` neighbours with up to `max_tokens` together; a longer text is alone."""
    start, tokens = 0, 0
    for i, item in enumerate(tokenized):
        size = len(item.ids) if isinstance(item, Encoded) else 0
        if i > start and (tokens + size > max_tokens or i - start >= max_texts):
            yield slice(start, i)
            start, tokens = i, 0
        tokens += size
    if tokenized:
        yield slice(start, len(tokenized))
