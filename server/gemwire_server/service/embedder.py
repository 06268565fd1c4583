"""From checked inputs to vectors: token ids in a pool of threads, then the engine, then back to asyncio."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TypeVar

import numpy as np

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.engine.interface import Engine, Results, StepTiming, Submission
from gemwire_server.errors import Expired, GemwireError, InvalidInput, Overloaded, Stopped
from gemwire_server.fronts.grpc.gemwire_v1.messages import Options, ServedModel, check_options
from gemwire_server.fronts.grpc.gemwire_v1.wire import EmbedResults
from gemwire_server.fronts.grpc.status import duration
from gemwire_server.service.call import UNARY_FLOW, Call, Caller
from gemwire_server.service.call_observer import CallObserver
from gemwire_server.service.queue_space import QueueSpace
from gemwire_server.text.tokenizer import Encoded, Tokenizer, Truncation

# A text this short costs less to tokenize (about 1 us per 4 characters) than a hop to a thread and back.
INLINE_CHARACTERS = 256
# Texts tokenized in one go: few enough that a query does not wait long behind a bulk request's.
TEXTS_PER_TASK = 32
# A guess before tokenizing, to refuse early; the queue counts the true number.
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Source:
    """One input: the text or ids, and the prompt that goes before it."""

    text: str | None
    ids: Sequence[int]
    complete: bool
    prompt: str

    @property
    def cost(self) -> int:
        """Characters, or as many as its ids stand for."""
        own = len(self.ids) * CHARACTERS_PER_TOKEN if self.text is None else len(self.text)
        return len(self.prompt) + own


Tokenized = Encoded | GemwireError
T = TypeVar("T")


class Embedder:
    """Everything between a request and its vectors, for every method alike."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        served: ServedModel,
        watch: CallObserver,
        *,
        tokenizer_threads: int,
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.served = served
        self._watch = watch
        self._pool = ThreadPoolExecutor(tokenizer_threads, thread_name_prefix="gemwire-tokenize")
        self._tokenizing_tokens = 0
        self.room = QueueSpace()

    def close(self) -> None:
        self._pool.shutdown()

    async def warm_up(self) -> None:
        """One text the whole way; raises the GemwireError that it ends in."""
        options = check_options(pb.EmbedOptions(), self.served)
        call = Call("warm-up", Caller.named("warm-up"))
        answers, _ = await self.embed([pb.EmbedInput(text="warm-up")], options, call, ["input"])
        for error in answers.errors.values():
            raise error

    async def tokenize(
        self, inputs: Sequence[pb.EmbedInput], options: Options, call: Call, paths: Sequence[str]
    ) -> list[Tokenized]:
        """Token ids of each input, or why it has none, naming the field below its path.

        Raises Expired if the call's deadline passes before or between parts of the work.
        """
        _check_deadline(call)
        began = time.monotonic()
        sources = [_attempt(partial(self._source, raw, options)) for raw in inputs]
        cost = [source.cost if isinstance(source, Source) else 0 for source in sources]
        if len(sources) == 1 and cost[0] <= INLINE_CHARACTERS:
            tokenized = self._encode_all(sources, options)
        else:
            tokenized = await self._encode_in_pool(sources, options, call)
        for path, item in zip(paths, tokenized, strict=True):
            if isinstance(item, InvalidInput):
                item.field = f"{path}.{item.field or 'text'}"
        self._watch.tokenized(call, began, tokenized)
        return tokenized

    def _source(self, raw: pb.EmbedInput, options: Options) -> Source:
        prompt = options.prompt_for(self.served, raw.title)
        match raw.WhichOneof("content"):
            case "text":
                return Source(raw.text, (), False, prompt)
            case "tokens":
                return Source(None, raw.tokens.ids, raw.tokens.complete, prompt)
        raise InvalidInput("EMPTY_TEXT", "the input has neither text nor tokens")

    async def _encode_in_pool(
        self, sources: Sequence[Source | GemwireError], options: Options, call: Call
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
        self, sources: Sequence[Source | GemwireError], options: Options
    ) -> list[Tokenized]:
        return [
            _attempt(partial(self._encode, source, options.truncation))
            if isinstance(source, Source)
            else source
            for source in sources
        ]

    def _encode(self, source: Source, truncation: Truncation | None) -> Encoded:
        if source.text is not None:
            return self.tokenizer.encode(source.text, prompt=source.prompt, truncation=truncation)
        return self.tokenizer.encode_ids(
            source.ids, prompt=source.prompt, complete=source.complete, truncation=truncation
        )

    @contextmanager
    def admitted(
        self, inputs: Sequence[pb.EmbedInput], options: Options, call: Call
    ) -> Iterator[None]:
        """Refuses early, by a guess at the tokens, what the queue would refuse after tokenizing it."""
        prompt = len(options.prompt)
        guess = sum(
            min(
                (prompt + len(raw.title) + len(raw.text)) // CHARACTERS_PER_TOKEN
                + len(raw.tokens.ids),
                self.tokenizer.max_tokens,
            )
            for raw in inputs
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
        self, inputs: Sequence[pb.EmbedInput], options: Options, call: Call, paths: Sequence[str]
    ) -> tuple[EmbedResults, pb.Timing]:
        """All of the inputs; cancelled with the task that awaits it.

        Raises QuotaExceeded, Overloaded, Stopped and Expired.
        """
        check_quota(call)
        with self.admitted(inputs, options, call):
            tokenized = await self.tokenize(inputs, options, call, paths)
        tokenize_seconds = time.monotonic() - call.arrived
        answers, steps = await self.compute_within_quota(tokenized, options, call)
        return answers, timing(call.arrived, tokenize_seconds, steps)

    async def compute_within_quota(
        self, tokenized: Sequence[Tokenized], options: Options, call: Call
    ) -> tuple[EmbedResults, list[StepTiming]]:
        """`compute` for a call, which is refused where its token's quota is used up."""
        bucket = call.grant and call.grant.bucket
        if not bucket or not (tokens := token_count(tokenized)):
            return await self.compute(tokenized, options, call)
        bucket.take(tokens)
        try:
            return await self.compute(tokenized, options, call)
        except (Overloaded, Stopped):
            bucket.give_back(tokens)
            raise

    async def compute(
        self,
        tokenized: Sequence[Tokenized],
        options: Options,
        call: Call,
        flow: int = UNARY_FLOW,
    ) -> tuple[EmbedResults, list[StepTiming]]:
        """The answers of inputs that are tokenized, and the steps that made them.

        `flow` is whose turns it takes among the caller's. Raises Overloaded or Stopped.
        """
        answers = empty_answers(tokenized, self.served.dimensions[0])
        steps = []
        submitted = time.monotonic()
        waiting = int(answers.token_counts.sum())
        try:
            with Pending(self.engine, tokenized, options.priority, call, flow) as pending:
                while pending.count:
                    results = await pending.next_results()
                    done = int(answers.token_counts[results.indices].sum())
                    waiting -= done
                    self.room.freed(done)
                    place(answers, results)
                    if results.step is not None:
                        steps.append(results.step)
        except asyncio.CancelledError:
            self.room.freed(waiting)
            raise
        self._watch.answered(call, submitted, answers, steps)
        return answers, steps


class Pending:
    """One submission, for a task that waits for its results; leaving it early cancels the rest."""

    def __init__(
        self,
        engine: Engine,
        tokenized: Sequence[Tokenized],
        priority: int,
        call: Call,
        flow: int,
    ) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Results] = asyncio.Queue()  # bounded by the texts submitted
        self._indices = [i for i, item in enumerate(tokenized) if isinstance(item, Encoded)]
        self._submission = Submission(
            self._deliver,
            deadline=call.deadline,
            priority=priority,
            caller=call.caller.key,
            flow=flow,
            bulk=flow != UNARY_FLOW,
        )
        self.count = len(self._indices)
        """Texts not answered yet."""
        if self.count:
            sequences = [item.ids for item in tokenized if isinstance(item, Encoded)]
            engine.submit(sequences, self._submission)

    def __enter__(self) -> "Pending":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.count:
            self._engine.cancel(self._submission)

    def _deliver(self, results: Results) -> None:
        if _runs_here(self._loop):
            self._arrived.put_nowait(results)
        else:
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, results)

    async def next_results(self) -> Results:
        """The next results that are ready, their indices those of the inputs. Raises Overloaded or Stopped
        if all of it is refused."""
        results = await self._arrived.get()
        if len(results.indices) == len(self._indices) and isinstance(
            results.error, Overloaded | Stopped
        ):
            self.count = 0
            raise results.error  # refused whole, and so is the call
        self.count -= len(results.indices)
        indices = [self._indices[i] for i in results.indices]
        return Results(indices, results.vectors, results.error, results.step)


def check_quota(call: Call) -> None:
    """Refuses, before it costs anything, what would be refused after tokenizing; QuotaExceeded."""
    if call.grant and call.grant.bucket:
        call.grant.bucket.take(0)


def token_count(tokenized: Sequence[Tokenized]) -> int:
    return sum(len(item.ids) for item in tokenized if isinstance(item, Encoded))


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this is the loop's own thread, which need not wake itself."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def empty_answers(tokenized: Sequence[Tokenized], dimensions: int) -> EmbedResults:
    """Answers with everything but the vectors."""
    count = len(tokenized)
    answers = EmbedResults(
        vectors=np.zeros((count, dimensions), np.float32),
        token_counts=np.zeros(count, np.uint32),
        truncated=np.zeros(count, np.bool_),
        errors={},
    )
    for i, item in enumerate(tokenized):
        if isinstance(item, Encoded):
            answers.token_counts[i] = len(item.ids)
            answers.truncated[i] = item.truncated
        else:
            answers.errors[i] = item
    return answers


def place(answers: EmbedResults, results: Results) -> None:
    """Puts results where they belong."""
    if results.error is not None:
        answers.errors.update(dict.fromkeys(results.indices, results.error))
    else:
        answers.vectors[results.indices] = results.vectors


def timing(arrived: float, tokenize_seconds: float, steps: Sequence[StepTiming]) -> pb.Timing:
    """Where the time of a call went; of its texts, the slowest counts."""
    last = steps[-1] if steps else StepTiming(0.0, 0.0, 0, 0)
    return pb.Timing(
        tokenize=duration(tokenize_seconds),
        queue=duration(max((step.queue_seconds for step in steps), default=0.0)),
        compute=duration(last.compute_seconds),
        total=duration(time.monotonic() - arrived),
        batch_texts=last.batch_texts,
        batch_tokens=last.batch_tokens,
    )


def _check_deadline(call: Call) -> None:
    if call.deadline is not None and call.deadline <= time.monotonic():
        raise Expired("DEADLINE_EXCEEDED", "the deadline passed before the texts were tokenized")


def _attempt(make: Callable[[], T]) -> T | GemwireError:
    try:
        return make()
    except GemwireError as error:
        return error.forgetting()
