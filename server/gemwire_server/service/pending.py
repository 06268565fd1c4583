"""A submission to the engine, as the task that waits for its results sees it."""

import asyncio
from collections.abc import Sequence
from types import TracebackType

from gemwire_server.engine.interface import REFUSALS, Engine, Results, Submission
from gemwire_server.service.call import UNARY_FLOW, Call
from gemwire_server.service.requests import CheckedOptions
from gemwire_server.service.results import Tokenized
from gemwire_server.text.tokenizer import Encoded


class Pending:
    """One submission. Leaving the block early cancels what is not answered."""

    def __init__(
        self,
        engine: Engine,
        tokenized: Sequence[Tokenized],
        options: CheckedOptions,
        call: Call,
        flow: int,
    ) -> None:
        """Submits the inputs that have token ids. Raises one of REFUSALS."""
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Results] = asyncio.Queue()  # bounded by the texts submitted
        self._indices = [i for i, item in enumerate(tokenized) if isinstance(item, Encoded)]
        self._submission = Submission(
            self._deliver,
            deadline=call.deadline,
            priority=options.priority,
            caller=call.caller.key,
            flow=flow,
            bulk=flow != UNARY_FLOW,
            output=options.output,
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
        """The next results that are ready, their indices those of the inputs.

        Raises one of REFUSALS if the engine refuses every text.
        """
        results = await self._arrived.get()
        if len(results.indices) == len(self._indices) and isinstance(results.error, REFUSALS):
            self.count = 0
            raise results.error  # the whole submission is refused, and so is the call
        self.count -= len(results.indices)
        indices = [self._indices[i] for i in results.indices]
        return Results(indices, results.vectors, results.error, results.step)


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this is the loop's own thread, which need not wake itself."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
