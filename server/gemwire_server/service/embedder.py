"""Turns checked inputs into vectors: a pool of threads tokenizes, the engine computes, asyncio waits."""

import asyncio
import codecs
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from gemwire_server.engine.interface import REFUSALS, Engine, StepTiming
from gemwire_server.errors import Expired, GemwireError, InvalidInput
from gemwire_server.served_model import ServedModel
from gemwire_server.service.call import UNARY_FLOW, Call
from gemwire_server.service.call_observer import CallObserver
from gemwire_server.service.pending import Pending
from gemwire_server.service.queue_space import QueueSpace
from gemwire_server.service.requests import CheckedOptions, Input, Output
from gemwire_server.service.results import (
    EmbedResults,
    TextResults,
    Timing,
    Tokenized,
    token_count,
)
from gemwire_server.text.tokenizer import Encoded, Tokenizer

# A text this short costs less to tokenize (about 1 us per 4 characters) than a hop to a thread and back.
INLINE_CHARACTERS = 256
# Texts tokenized in one go: few enough that a query does not wait long behind a bulk request's.
TEXTS_PER_TASK = 32
# Ids turned into text in one go, for the same reason (about 1 us each).
IDS_PER_TASK = 16384
# So few ids take less time than a hop to a thread and back.
INLINE_IDS = 64
# A guess before tokenizing, to refuse early; the queue counts the true number.
CHARACTERS_PER_TOKEN = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Source:
    """An input with the prompt that goes before it."""

    input: Input
    prompt: str

    @property
    def cost(self) -> int:
        """Characters, or as many as the token ids stand for."""
        text, ids = self.input.text, self.input.ids or ()
        own = len(ids) * CHARACTERS_PER_TOKEN if text is None else len(text)
        return len(self.prompt) + own


class Embedder:
    """Tokenizes and computes the inputs of every method of every API."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        model: ServedModel,
        observer: CallObserver,
        *,
        tokenizer_threads: int,
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.model = model
        self.queue_space = QueueSpace()
        self._observer = observer
        self._pool = ThreadPoolExecutor(tokenizer_threads, thread_name_prefix="gemwire-tokenize")
        self._tokenizing_tokens = 0

    def close(self) -> None:
        self._pool.shutdown()

    async def tokenize(
        self,
        inputs: Sequence[Input],
        options: CheckedOptions,
        call: Call,
        paths: Sequence[str],
    ) -> list[Tokenized]:
        """Token ids of each input, or its error, which names the field below the input's path.

        Raises Expired if the call's deadline passes before or between parts of the work.
        """
        _check_deadline(call)
        began = time.monotonic()
        sources = [_attempt(partial(self._source, each, options)) for each in inputs]
        cost = [source.cost if isinstance(source, _Source) else 0 for source in sources]
        if len(sources) == 1 and cost[0] <= INLINE_CHARACTERS:
            tokenized = self._encode_all(sources, options)
        else:
            tokenized = await self._encode_in_pool(sources, options, call)
        for path, item in zip(paths, tokenized, strict=True):
            if isinstance(item, InvalidInput):
                item.field = f"{path}.{item.field or 'text'}"
        self._observer.tokenized(call, began, tokenized)
        return tokenized

    async def detokenize(
        self, ids: Sequence[int], call: Call, *, keep_special_tokens: bool
    ) -> AsyncIterator[str]:
        """The text of token ids, in parts. Bytes that are no UTF-8 read as U+FFFD.

        Raises InvalidInput for an id that the vocabulary lacks, and Expired if the call's deadline passes
        before or between parts of the work.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")

        def part(first: int) -> str:
            last = first + IDS_PER_TASK
            raw = self.tokenizer.text_bytes(
                ids[first:last], keep_special_tokens=keep_special_tokens, first=first
            )
            return decoder.decode(raw, final=last >= len(ids))

        for first in range(0, len(ids), IDS_PER_TASK):
            _check_deadline(call, "the ids became text")
            try:
                yield await self.run(partial(part, first), len(ids))
            except InvalidInput as error:
                error.field = f"ids[{error.metadata['index']}]"
                raise

    async def run(self, work: Callable[[], T], ids: int) -> T:
        """The result of work on that many ids, which runs in the pool unless they are few."""
        if ids <= INLINE_IDS:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _source(self, input: Input, options: CheckedOptions) -> _Source:
        return _Source(input, options.prompt_for(self.model, input.title))

    async def _encode_in_pool(
        self, sources: Sequence[_Source | GemwireError], options: CheckedOptions, call: Call
    ) -> list[Tokenized]:
        loop = asyncio.get_running_loop()
        tokenized: list[Tokenized] = []
        for i in range(0, len(sources), TEXTS_PER_TASK):
            # One part of a call at a time: the pool is first come, first served.
            part = sources[i : i + TEXTS_PER_TASK]
            _check_deadline(call)
            tokenized += await loop.run_in_executor(self._pool, self._encode_all, part, options)
        return tokenized

    def _encode_all(
        self, sources: Sequence[_Source | GemwireError], options: CheckedOptions
    ) -> list[Tokenized]:
        return [
            _attempt(partial(self._encode, source, options))
            if isinstance(source, _Source)
            else source
            for source in sources
        ]

    def _encode(self, source: _Source, options: CheckedOptions) -> Encoded:
        input, prompt, truncation = source.input, source.prompt, options.truncation
        if input.text is not None:
            return self.tokenizer.encode(
                input.text, prompt=prompt, truncation=truncation, spans=options.spans
            )
        if input.ids is None:
            raise InvalidInput("EMPTY_TEXT", "the input has neither text nor tokens")
        return self.tokenizer.encode_ids(
            input.ids, prompt=prompt, complete=input.complete, truncation=truncation
        )

    @contextmanager
    def admitted(
        self, inputs: Sequence[Input], options: CheckedOptions, call: Call
    ) -> Iterator[None]:
        """Refuses early, by a guess at the tokens, what the queue would refuse after tokenizing."""
        prompt = len(options.prompt)
        guess = sum(
            min(
                (prompt + len(each.title) + len(each.text or "")) // CHARACTERS_PER_TOKEN
                + len(each.ids or ()),
                self.tokenizer.max_tokens,
            )
            for each in inputs
        )
        self.engine.check_room(
            self._tokenizing_tokens, guess, caller=call.caller.key, deadline=call.deadline
        )
        self._tokenizing_tokens += guess
        try:
            yield
        finally:
            self._tokenizing_tokens -= guess

    async def embed(
        self,
        inputs: Sequence[Input],
        options: CheckedOptions,
        call: Call,
        paths: Sequence[str],
        field: str,
        *,
        all_or_none: bool = False,
    ) -> tuple[EmbedResults, Timing]:
        """Vectors of all of the inputs. Cancelling the task that awaits them cancels the work.

        `paths` name each input in errors, and `field` all of them. With `all_or_none` the first input's
        error is raised. Raises QuotaExceeded, InvalidInput, Overloaded, Stopped and Expired.
        """
        check_quota(call)
        with self.admitted(inputs, options, call):
            tokenized = await self.tokenize(inputs, options, call, paths)
        tokenize_seconds = time.monotonic() - call.arrived
        if all_or_none:
            raise_first_error(tokenized)
        results, steps = await self.compute_within_quota(tokenized, options, call, field)
        if all_or_none:
            results.raise_first_error()
        return results, Timing.of(call.arrived, tokenize_seconds, steps)

    async def compute_within_quota(
        self, tokenized: Sequence[Tokenized], options: CheckedOptions, call: Call, field: str
    ) -> tuple[EmbedResults, list[StepTiming]]:
        """As `compute`. Raises QuotaExceeded where the quota of the call's token is used up."""
        with within_quota(call, token_count(tokenized)):
            return await self.compute(tokenized, options, call, field)

    async def compute(
        self,
        tokenized: Sequence[Tokenized],
        options: CheckedOptions,
        call: Call,
        field: str,
        flow: int = UNARY_FLOW,
    ) -> tuple[EmbedResults, list[StepTiming]]:
        """The results of inputs that are tokenized, and the steps that computed them. For the outputs that
        have a vector a text.

        The caller's flows take turns; `flow` is this submission's. Raises InvalidInput, which names
        `field`, for more tokens than the queue takes, and Overloaded or Stopped.
        """
        assert options.output is not Output.TOKENS
        results = EmbedResults.without_vectors(tokenized, self.model.dimensions[0])
        return results, await self.compute_into(results, tokenized, options, call, field, flow)

    async def compute_into(
        self,
        results: TextResults,
        tokenized: Sequence[Tokenized],
        options: CheckedOptions,
        call: Call,
        field: str,
        flow: int = UNARY_FLOW,
    ) -> list[StepTiming]:
        """As `compute`, with `results` of the inputs that suit the output. Returns the steps."""
        steps = []
        submitted = time.monotonic()
        waiting = int(results.token_counts.sum())
        try:
            with Pending(self.engine, tokenized, options, call, flow) as pending:
                while pending.count:
                    computed = await pending.next_results()
                    done = int(results.token_counts[computed.indices].sum())
                    waiting -= done
                    self.queue_space.freed(done)
                    results.place(computed)
                    if computed.step is not None:
                        steps.append(computed.step)
        except InvalidInput as error:
            error.field = field
            raise
        except asyncio.CancelledError:
            self.queue_space.freed(waiting)
            raise
        self._observer.answered(call, submitted, results, steps)
        return steps


def raise_first_error(tokenized: Sequence[Tokenized]) -> None:
    """Raises the first input's error, if any input has one."""
    for item in tokenized:
        if isinstance(item, GemwireError):
            raise item


def check_quota(call: Call) -> None:
    """Raises QuotaExceeded before the work for a call that would be refused after tokenizing."""
    if call.grant and call.grant.bucket:
        call.grant.bucket.take(0)


@contextmanager
def within_quota(
    call: Call, tokens: int, computed: Callable[[], int] = lambda: 0
) -> Iterator[None]:
    """Takes the tokens of the block's work from the quota of the call's token, and gives back those that
    are not `computed` where the engine refuses it. Raises QuotaExceeded."""
    bucket = call.grant and call.grant.bucket
    if not bucket or not tokens:
        yield
        return
    bucket.take(tokens)
    try:
        yield
    except REFUSALS:
        bucket.give_back(tokens - computed())
        raise


def _check_deadline(call: Call, what: str = "the texts were tokenized") -> None:
    if call.deadline is not None and call.deadline <= time.monotonic():
        raise Expired("DEADLINE_EXCEEDED", f"the deadline passed before {what}")


def _attempt(make: Callable[[], T]) -> T | GemwireError:
    try:
        return make()
    except GemwireError as error:
        return error.forgetting()
