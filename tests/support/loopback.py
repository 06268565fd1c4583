"""A ThreadEngine behind a link, with host and pool in threads of this process."""

import secrets
import selectors
import threading
from collections.abc import Callable, Sequence

from gemwire_server.engine.interface import EngineState, Observer, Runner, Submission
from gemwire_server.engine.packing import TokenIds
from gemwire_server.engine.thread_engine import ThreadEngine
from gemwire_server.processes.host import EngineHost
from gemwire_server.processes.link import LinkClosed
from gemwire_server.processes.pool import EnginePool


class LoopbackEngine:
    """Takes ThreadEngine's arguments; every request goes over the link."""

    def __init__(
        self,
        runner: Runner,
        *,
        max_batch_tokens: int,
        max_queue_tokens: int,
        on_death: Callable[[], None] = lambda: None,
        observer: Observer | None = None,
    ) -> None:
        path = f"\0gemwire-{secrets.token_hex(8)}"
        self.host = EngineHost(
            path,
            lambda told: ThreadEngine(
                runner,
                max_batch_tokens=max_batch_tokens,
                max_queue_tokens=max_queue_tokens,
                on_death=on_death,
                observer=told,
            ),
            observer=observer,
        )
        self._host_thread = threading.Thread(target=self.host.run, name="host")
        self._host_thread.start()
        self.pool = EnginePool(max_queue_tokens=max_queue_tokens, max_tokens=2048, hidden_size=2)
        self._remote = self.pool.connect(0, path)
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="reader")
        self._reader.start()

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._remote, selectors.EVENT_READ)
            try:
                while not self._ended:
                    if selector.select(0.05):
                        self.pool.read(self._remote)
            except LinkClosed:
                self.pool.lost(self._remote)

    def submit(self, sequences: Sequence[TokenIds], submission: Submission) -> None:
        self.pool.submit(sequences, submission)

    def cancel(self, submission: Submission) -> None:
        self.pool.cancel(submission)

    def check_room(
        self, coming: int, guess: int, *, caller: int, deadline: float | None = None
    ) -> None:
        self.pool.check_room(coming, guess, caller=caller, deadline=deadline)

    def state(self) -> EngineState:
        return self.pool.state()

    def abandon(self) -> None:
        self.pool.abandon()

    def close(self) -> None:
        closing = threading.Thread(target=self.pool.close)
        closing.start()
        closing.join()
        self._ended = True
        self._reader.join()
        self.host.close()
        self._host_thread.join()
