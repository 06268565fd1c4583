"""The end of a server: what was accepted is answered, the rest goes elsewhere, no client holds it up."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from gemwire_server.config.options import ServerConfig
from gemwire_server.processes.single import Application
from support.http_front import connected, get

WAIT = 30.0


class Draining:
    """A server on an event loop of its own that a test drains."""

    def __init__(self, options: ServerConfig) -> None:
        self._ready = threading.Event()
        self._drain = threading.Event()
        self.done = threading.Event()
        self.address = ""
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(options),))

    async def _run(self, options: ServerConfig) -> None:
        app = Application(options)
        await app.start()
        self.address = app.http_address
        self._ready.set()
        await asyncio.to_thread(self._drain.wait)
        await app.drain(1.0)
        self.done.set()

    def __enter__(self) -> "Draining":
        self._thread.start()
        assert self._ready.wait(WAIT)
        return self

    def __exit__(self, *_: object) -> None:
        self._drain.set()
        self._thread.join()

    def begin(self) -> None:
        self._drain.set()
        until = time.monotonic() + WAIT
        while get(self.address, "/readyz").status == 200:
            assert time.monotonic() < until


@pytest.fixture
def drained(tiny_checkpoint: Path, small_api: None) -> Draining:
    return Draining(
        ServerConfig(model=str(tiny_checkpoint), address="127.0.0.1:0", http_address="127.0.0.1:0")
    )


def test_a_drain_answers_what_was_accepted_and_sends_the_rest_elsewhere(
    drained: Draining,
) -> None:
    with (
        drained as draining,
        connected(draining.address) as busy,
        connected(draining.address) as idle,
        connected(draining.address) as pooled,
    ):
        for each in (idle, pooled):
            each.post("/echo", b"[]")
            assert each.reply().status == 200
        busy.post("/slow", b'{"seconds": 2.0}')
        time.sleep(0.2)
        draining.begin()
        pooled.post("/echo", b"[]")
        reply = pooled.reply()
        assert (reply.status, reply.json()["reason"]) == (503, "DRAINING")
        assert reply.headers["connection"] == "close"
        assert int(reply.headers["retry-after"]) >= 1
        assert pooled.is_closed()
        assert get(draining.address, "/healthz").status == 200
        reply = busy.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert busy.is_closed()
        assert idle.is_closed()
        assert draining.done.wait(WAIT)


def test_a_client_that_does_not_read_does_not_keep_a_server_from_ending(
    drained: Draining,
) -> None:
    with drained as draining, connected(draining.address) as deaf:
        deaf.post("/zeros", str(2**26).encode())
        time.sleep(0.3)
        draining.begin()
        assert draining.done.wait(WAIT)
