"""Engines behind links in threads of this process, with runners that can be held."""

import secrets
import selectors
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from gemwire_server.engine.interface import Output
from gemwire_server.engine.packing import PackedBatch, TokenIds
from gemwire_server.engine.thread_engine import ThreadEngine
from gemwire_server.processes.host import EngineHost
from gemwire_server.processes.link import LinkClosed
from gemwire_server.processes.pool import EnginePool
from gemwire_server.processes.remote import RemoteEngine

WAIT = 20.0


def ids(first: int, length: int) -> TokenIds:
    found = np.ones(length, np.int32)
    found[0] = first
    return found


class HeldRunner:
    """A text's vector begins with its first id and its length; so does each row of the output TOKENS. The
    numbers of the output RAW are the negative ones."""

    depth = 1

    def __init__(self, gate: threading.Event, dimensions: int) -> None:
        self.batches: list[PackedBatch] = []
        self._gate = gate
        self._dimensions = dimensions

    def start(self, batch: PackedBatch, output: Output) -> Callable[[], NDArray[np.float32]]:
        self.batches.append(batch)
        return partial(self._wait, batch, output)

    def _wait(self, batch: PackedBatch, output: Output) -> NDArray[np.float32]:
        assert self._gate.wait(WAIT)
        firsts = batch.input_ids[batch.cu_seqlens[:-1]]
        vectors = np.empty((batch.num_texts, self._dimensions), np.float32)
        vectors[:] = (firsts % 100)[:, None]
        vectors[:, 0] = firsts
        vectors[:, 1] = np.diff(batch.cu_seqlens)
        if output is Output.TOKENS:
            return np.repeat(vectors, np.diff(batch.cu_seqlens), axis=0)
        return vectors if output is Output.UNIT else -vectors


class Engines:
    """A pool and the engines that it is connected to. A thread for each engine reads its link."""

    def __init__(
        self,
        count: int,
        *,
        max_queue_tokens: int = 1000,
        dimensions: int = 2,
        max_tokens: int = 2048,
    ) -> None:
        self._gate = threading.Event()
        self._gate.set()
        self.runners = [HeldRunner(self._gate, dimensions) for _ in range(count)]
        self.pool = EnginePool(
            max_queue_tokens=max_queue_tokens, max_tokens=max_tokens, hidden_size=dimensions
        )
        self._hosts: list[EngineHost] = []
        self._threads: list[threading.Thread] = []
        self._lost: dict[int, list[str]] = {}
        for index, runner in enumerate(self.runners):
            path = f"\0gemwire-test-{secrets.token_hex(8)}"
            host = EngineHost(
                path,
                lambda told, runner=runner: ThreadEngine(  # type: ignore[misc]
                    runner, max_batch_tokens=10, max_queue_tokens=max_queue_tokens, observer=told
                ),
            )
            self._hosts.append(host)
            self._start(host.run)
            self._start(partial(self._read, self.pool.connect(index, path)))

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        self._threads.append(thread)

    def _read(self, remote: RemoteEngine) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(remote, selectors.EVENT_READ)
            try:
                while selector.select():
                    self.pool.read(remote)
            except LinkClosed:
                self._lost[remote.index] = self.pool.lost(remote)

    def hold(self) -> None:
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    def begun(self) -> int:
        """How many engines have begun a step, as far as the pool knows."""
        return sum(bool(engine._link.board.running()) for engine in self.pool.engines)

    def end(self, index: int) -> list[str]:
        """Ends an engine as if its process had ended. Returns the digests of the texts it was computing."""
        for front in self._hosts[index]._fronts:
            front.link._socket.shutdown(2)
        self._threads[2 * index + 1].join(WAIT)
        return self._lost[index]

    def __enter__(self) -> "Engines":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._gate.set()
        for host in self._hosts:
            host.close()
        for thread in self._threads:
            thread.join(WAIT)
