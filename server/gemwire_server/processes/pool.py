"""All engines of a server as one, for a front: `interface.Engine` over links to their processes."""

import logging
import threading
import time
from collections.abc import Sequence

from gemwire_server.engine.admission import check_size
from gemwire_server.engine.delivery import deliver, expired, poison, stopped
from gemwire_server.engine.interface import EngineState, Results, Submission
from gemwire_server.engine.packing import TokenIds
from gemwire_server.errors import GemwireError, Stopped
from gemwire_server.processes.link import LinkClosed
from gemwire_server.processes.quarantine import Quarantine, digest
from gemwire_server.processes.remote import RemoteEngine, RemoteSubmission, result_ring_bytes

log = logging.getLogger(__name__)

RESTART_SECONDS = 1.0  # advice to callers until the supervisor reports how long restarts take


class EnginePool:
    """Sends work to the engine with the least queued tokens. Any thread may call it.

    The front process connects engines, calls `read` for each when its `fileno` is readable, and `lost`
    when one has ended.
    """

    def __init__(self, *, max_queue_tokens: int, max_tokens: int, hidden_size: int) -> None:
        """`max_tokens` is the model's window, and `hidden_size` the size of a token's state."""
        self.quarantine = Quarantine()
        self._max_queue_tokens = max_queue_tokens
        self._result_ring_bytes = result_ring_bytes(max_tokens, hidden_size)
        self._engines: list[RemoteEngine] = []  # replaced, never changed
        self._closing = False
        self._idle = threading.Condition()
        self.retry_after = RESTART_SECONDS

    @property
    def engines(self) -> list[RemoteEngine]:
        return self._engines

    def connect(self, index: int, path: str) -> RemoteEngine:
        """Raises OSError."""
        engine = RemoteEngine(
            index,
            path,
            max_queue_tokens=self._max_queue_tokens,
            result_ring_bytes=self._result_ring_bytes,
            on_results=self._deliver,
        )
        self._engines = [*self._engines, engine]
        return engine

    def lost(self, engine: RemoteEngine) -> list[str]:
        """An engine has ended. The texts that it had not begun go to another engine, if there is one; the
        others are refused.

        Returns the digests of the texts that it was computing.
        """
        self._engines = [other for other in self._engines if other is not engine]
        running = []
        unanswered = engine.take_unanswered()
        engine.close()
        for part in unanswered:
            running += [digest(part.sequences[place]) for place in part.running]
            left = sorted(part.waiting - part.running)
            if self._engines and left:
                self._move(part, left)
                left = []
            self._fail(part, sorted({*left, *part.running}), self._restarting())
        self._notify()
        return running

    def read(self, engine: RemoteEngine) -> None:
        """Raises LinkClosed; call `lost` then."""
        engine.read()

    def submit(self, sequences: Sequence[TokenIds], submission: Submission) -> None:
        if self._closing:
            raise stopped()
        # No engine would ever take it, so that a restart is no reason to wait.
        check_size(sum(map(len, sequences)), self._max_queue_tokens)
        parts, convicted = self._parts(sequences, submission)
        try:
            self._send(parts)
        except GemwireError:
            self.cancel(submission)  # of parts that were sent
            raise
        if convicted:
            error = poison("this text has ended the engine before; it is not computed again")
            deliver(submission, Results(convicted, None, error, None))

    def _parts(
        self, sequences: Sequence[TokenIds], submission: Submission
    ) -> tuple[list[RemoteSubmission], list[int]]:
        """(parts to send, indices of convicted texts). Each suspected text is a part of its own, and the
        others are one part."""
        if not self.quarantine:
            return [RemoteSubmission(submission, list(range(len(sequences))), list(sequences))], []
        rest, alone, convicted = [], [], []
        for i, ids in enumerate(sequences):
            name = digest(ids)
            if self.quarantine.is_convicted(name):
                convicted.append(i)
            elif self.quarantine.is_suspected(name):
                alone.append(RemoteSubmission(submission, [i], [ids], alone=True))
            else:
                rest.append(i)
        parts = [RemoteSubmission(submission, rest, [sequences[i] for i in rest])] if rest else []
        return parts + alone, convicted

    def _send(self, parts: Sequence[RemoteSubmission]) -> None:
        for part in parts:
            engine = self._least_queued()
            try:
                engine.submit(part)
            except LinkClosed:
                # The engine's reader sees this too, and takes care of the engine's other work.
                raise self._restarting() from None

    def _least_queued(self) -> RemoteEngine:
        if not self._engines:
            raise self._restarting()
        return min(self._engines, key=lambda engine: engine.queued_tokens)

    def _restarting(self) -> Stopped:
        return Stopped(
            "ENGINE_RESTARTING",
            "the engine is being restarted; this text was not computed",
            retry_after=self.retry_after,
        )

    def cancel(self, submission: Submission) -> None:
        submission.cancelled = True
        for engine in self._engines:
            engine.cancel(submission)
        self._notify()

    def check_room(
        self, coming: int, guess: int, *, caller: int, deadline: float | None = None
    ) -> None:
        if self._closing:
            raise stopped()
        engine = self._least_queued()
        engine.check_room(coming, guess, caller=caller, deadline=deadline)

    def state(self) -> EngineState:
        states = [engine.state() for engine in self._engines]
        return EngineState(
            queued_tokens=sum(state.queued_tokens for state in states),
            token_rate=sum(state.token_rate for state in states),
        )

    def abandon(self) -> None:
        self._closing = True
        for engine in self._engines:
            for part, places in engine.take_waiting():
                self._fail(part, places, stopped())
        self._notify()

    def close(self) -> None:
        self._closing = True
        with self._idle:
            self._idle.wait_for(lambda: not any(len(engine) for engine in self._engines))
        for engine in self._engines:
            engine.close()
        self._engines = []

    def _move(self, part: RemoteSubmission, places: list[int]) -> None:
        """Sends places of a part to another engine, unless their deadline has passed."""
        deadline = part.submission.deadline
        if deadline is not None and deadline <= time.monotonic():
            self._fail(part, places, expired())
            return
        moved = RemoteSubmission(
            part.submission,
            [part.indices[place] for place in places],
            [part.sequences[place] for place in places],
            alone=part.alone,
        )
        try:
            self._send([moved])
        except GemwireError as error:
            self._fail(part, places, error)

    def _deliver(self, part: RemoteSubmission, results: Results) -> None:
        if part.alone and results.vectors is not None:
            self.quarantine.clear(digest(part.sequences[0]))
        indices = [part.indices[place] for place in results.indices]
        deliver(part.submission, Results(indices, results.vectors, results.error, results.step))
        if not part.waiting:
            self._notify()

    def _fail(self, part: RemoteSubmission, places: Sequence[int], error: GemwireError) -> None:
        if places:
            indices = [part.indices[place] for place in places]
            deliver(part.submission, Results(indices, None, error, None))

    def _notify(self) -> None:
        with self._idle:
            self._idle.notify_all()
