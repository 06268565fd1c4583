"""The one way in: every API embeds, compares and tokenizes through `Service`, in plain values.

A front makes a `Call`, enters `Service.call` with it, and in that block awaits what it asks for:

    async with service.call(call):
        options = service.check(EmbedOptions(dimensions=256))
        results, timing = await service.embed([Input("a text")], options, call)
        vectors = cut(results.vectors, options.vectors)
"""

import asyncio
import logging
import os
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.interface import Engine
from gemwire_server.errors import EngineFailure, GemwireError, InvalidInput
from gemwire_server.served_model import ServedModel
from gemwire_server.service.call import ApiMethod, Call, Caller, default_deadline
from gemwire_server.service.call_observer import CallObserver
from gemwire_server.service.embedder import Embedder, check_quota
from gemwire_server.service.gate import CallGate
from gemwire_server.service.requests import (
    CheckedOptions,
    EmbedOptions,
    FieldPath,
    Input,
    Output,
    check_count,
    check_model,
    check_options,
)
from gemwire_server.service.results import (
    EmbedResults,
    SimilarityResults,
    Timing,
    TokenizedText,
    TokenResults,
)
from gemwire_server.service.token_states import TokenStates
from gemwire_server.service.vectors import cut
from gemwire_server.text.tokenizer import Encoded, Tokenizer, Truncation

log = logging.getLogger(__name__)

T = TypeVar("T")

# How long `abandon` waits for the step that runs, and for callers to be answered.
ABANDON_SECONDS = 5.0
WARM_UP = ApiMethod("", "warm-up", "warm-up")


class Service:
    """The way in of one process, for one event loop.

    `open`, then calls; at the end `close_gate`, `wait_idle`, `abandon` if that takes too long, and `close`.
    """

    def __init__(self, config: ServerConfig, observer: CallObserver) -> None:
        self.observer = observer
        self.max_inputs = config.max_inputs_per_request
        self.is_serving = False
        """Whether calls can be answered, as the health of every front says."""
        self._config = config
        self._gate = CallGate(config.max_concurrent_calls)
        self._embedder: Embedder | None = None
        self._token_states: TokenStates | None = None

    def open(self, engine: Engine, tokenizer: Tokenizer, model: ServedModel) -> None:
        """Takes calls from now on."""
        threads = tokenizer_threads(self._config)
        self._embedder = Embedder(
            engine, tokenizer, model, self.observer, tokenizer_threads=threads
        )
        self._token_states = TokenStates(
            self._embedder, max_response_bytes=self._config.max_response_bytes
        )

    @property
    def embedder(self) -> Embedder:
        """The parts of embedding one by one, for streams. The service must be open."""
        assert self._embedder is not None
        return self._embedder

    @property
    def model(self) -> ServedModel:
        return self.embedder.model

    @property
    def active_calls(self) -> int:
        """Calls that are under way in this process."""
        return self._gate.count

    @asynccontextmanager
    async def call(
        self,
        call: Call,
        metadata: Iterable[tuple[str, str | bytes]] = (),
        *,
        limited: bool = True,
    ) -> AsyncIterator[None]:
        """A call from its start to its end: counted, traced, and let in or refused.

        `limited` gives a call that set no deadline the server's own. Raises Stopped, Overloaded,
        Expired and what the block raises; of a bug it raises EngineFailure, which quotes nothing.
        """
        self.observer.started(call, metadata)
        try:
            with self._gate.one():
                async with default_deadline(call, self._config.call_seconds * limited):
                    yield
        except GemwireError as error:
            self.observer.ended(call, error.code, error.reason)
            raise
        except asyncio.CancelledError:
            self.observer.ended(call, "DEADLINE_EXCEEDED" if call.is_late else "CANCELLED")
            raise
        except Exception as error:
            failed = internal_error(error, call)
            self.observer.ended(call, failed.code, failed.reason)
            raise failed from None
        self.observer.ended(call, "OK")

    def check(self, options: EmbedOptions, path: FieldPath = str) -> CheckedOptions:
        """The options, checked against the model. Raises NotFound and InvalidInput."""
        return check_options(options, self.model, path)

    def check_count(self, count: int, field: str) -> None:
        """Raises InvalidInput for a request with more inputs than the configured limit."""
        check_count(count, self.max_inputs, field)

    async def embed(
        self,
        inputs: Sequence[Input],
        options: CheckedOptions,
        call: Call,
        paths: Sequence[str] | None = None,
        field: str = "inputs",
        *,
        all_or_none: bool = False,
    ) -> tuple[EmbedResults, Timing]:
        """The inputs' vectors, whole, of the output UNIT or RAW: `vectors.cut` gives them the size and
        length asked for.

        `paths` name each input in errors, and `field` all of them. With `all_or_none` the first input's
        error is raised, before any is computed where it has no token ids. Raises InvalidInput for too
        many inputs or tokens, QuotaExceeded, Overloaded, Stopped and Expired.
        """
        paths = self._checked_paths(len(inputs), paths, field)
        return await self.embedder.embed(
            inputs, options, call, paths, field, all_or_none=all_or_none
        )

    async def embed_tokens(
        self,
        inputs: Sequence[Input],
        options: CheckedOptions,
        call: Call,
        paths: Sequence[str] | None = None,
        field: str = "inputs",
        *,
        token_bytes: int = 0,
    ) -> tuple[TokenResults, Timing]:
        """The final hidden state of every token that the model sees, whatever `options.output` is.

        `paths` and errors are as for `embed`. Raises InvalidInput also for rows of more bytes than
        --max-response-bytes, before they are computed. A row has `token_bytes` in the answer, with 0 those
        of its numbers alone.
        """
        assert self._token_states is not None
        paths = self._checked_paths(len(inputs), paths, field)
        return await self._token_states.embed(
            inputs, options, call, paths, field, token_bytes=token_bytes
        )

    def _checked_paths(self, count: int, paths: Sequence[str] | None, field: str) -> Sequence[str]:
        """The paths of so many inputs, which are their places in `field` unless given."""
        self.check_count(count, field)
        return [f"{field}[{i}]" for i in range(count)] if paths is None else paths

    def check_similarity(
        self,
        options: tuple[CheckedOptions, CheckedOptions],
        targets: int,
        dimensions_field: str = "dimensions",
    ) -> None:
        """Raises InvalidInput for two sizes, naming `dimensions_field`, or for too many targets."""
        of_source, of_targets = options
        if of_source.vectors.dimensions != of_targets.vectors.dimensions:
            raise InvalidInput(
                "DIMENSIONS_DIFFER",
                "source and targets are compared at one size: their "
                f"{dimensions_field.rpartition('.')[2]} differs",
                field=dimensions_field,
            )
        check_count(targets, self.max_inputs - 1, "targets")

    async def similarity(
        self,
        source: Input,
        targets: Sequence[Input],
        options: tuple[CheckedOptions, CheckedOptions],
        call: Call,
        dimensions_field: str = "dimensions",
    ) -> tuple[SimilarityResults, Timing]:
        """The cosine between the source and each target; `options` are the source's and the targets'.

        Raises the source's error, and as `check_similarity` and `embed`. No target is computed for a source
        that has no token ids.
        """
        self.check_similarity(options, len(targets), dimensions_field)
        # A cosine does not depend on lengths, whatever the options ask of vectors.
        of_source, of_targets = (replace(each, output=Output.UNIT) for each in options)
        check_quota(call)
        embedder = self.embedder
        paths = [f"targets[{i}]" for i in range(len(targets))]
        with embedder.admitted([source, *targets], of_targets, call):
            tokenized = await embedder.tokenize([source], of_source, call, ["source"])
            if isinstance(tokenized[0], Encoded):
                tokenized += await embedder.tokenize(targets, of_targets, call, paths)
        tokenize_seconds = time.monotonic() - call.arrived
        results, steps = await embedder.compute_within_quota(tokenized, of_source, call, "targets")
        units = cut(results.vectors, replace(of_source.vectors, normalize=True))
        similarity = SimilarityResults.of(units, results.errors)
        return similarity, Timing.of(call.arrived, tokenize_seconds, steps)

    async def tokenize(
        self,
        input: Input,
        options: CheckedOptions,
        call: Call,
        path: str = "input",
        *,
        spans: bool = False,
    ) -> TokenizedText:
        """The ids that the model would get, all of them unless the options cut, and with `spans` their
        places in the text. Raises InvalidInput and Expired."""
        # More ids than the window are an answer here, not an error: all of them show how many.
        kept = None if options.truncation is Truncation.ERROR else options.truncation
        options = replace(options, truncation=kept, spans=spans)
        (encoded,) = await self.embedder.tokenize([input], options, call, [path])
        if not isinstance(encoded, Encoded):
            raise encoded
        over_limit = encoded.truncated or len(encoded.ids) > self.embedder.tokenizer.max_tokens
        seconds = time.monotonic() - call.arrived
        return TokenizedText(encoded.ids, over_limit, encoded.spans, seconds)

    def detokenize(
        self,
        ids: Sequence[int],
        call: Call,
        *,
        model: str = "",
        keep_special_tokens: bool = False,
    ) -> AsyncIterator[str]:
        """The text of token ids, in parts. Bytes that are no UTF-8 read as U+FFFD.

        Raises NotFound for another model, InvalidInput for an id that the vocabulary lacks, and Expired.
        """
        check_model(model, self.model)
        return self.embedder.detokenize(ids, call, keep_special_tokens=keep_special_tokens)

    def pieces(self, ids: NDArray[np.int32]) -> list[str]:
        """The vocabulary's piece for each id."""
        return self.embedder.tokenizer.pieces(ids)

    async def run(self, work: Callable[[], T], ids: int) -> T:
        """The result of work on that many ids; other calls are answered meanwhile."""
        return await self.embedder.run(work, ids)

    async def warm_up(self) -> None:
        """Computes one text; raises the GemwireError that it ends in."""
        call = Call(WARM_UP, Caller.named(WARM_UP.name))
        results, _ = await self.embed([Input("warm-up")], self.check(EmbedOptions()), call)
        results.raise_first_error()

    def close_gate(self) -> None:
        """Refuses new calls with Stopped."""
        self._gate.close()

    async def wait_idle(self) -> None:
        """Returns when no call is under way."""
        await self._gate.wait_idle()

    async def abandon(self) -> None:
        """Answers with Stopped what has not begun to be computed, so that callers know to ask elsewhere."""
        if self._embedder is not None:
            self._embedder.engine.abandon()
        with suppress(TimeoutError):
            async with asyncio.timeout(ABANDON_SECONDS):
                await self.wait_idle()

    async def close(self) -> None:
        """Ends the threads that tokenize."""
        if self._embedder is not None:
            await asyncio.to_thread(self._embedder.close)


def tokenizer_threads(config: ServerConfig) -> int:
    """The threads that tokenize, as configured or as suits the machine."""
    return config.tokenizer_threads or max(1, (os.cpu_count() or 2) - 1)


def internal_error(error: Exception, call: Call) -> EngineFailure:
    """The error that a caller gets for a bug: it says only what to look for in the log.

    The log says where the bug is. It does not quote the exception's own text, which may quote a request.
    """
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s: %s in\n%s", call.method.full_name, type(error).__name__, frames)
    return EngineFailure(
        "INTERNAL", "internal error; the server's log says more", request_id=call.request_id
    )
