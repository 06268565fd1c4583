"""HTTP of a server in several processes: fronts share the port and drain, and an engine may die."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.http_front import Reply, connected, get, post
from support.server_process import ServerProcess, server_process

WAIT = 60.0
BODY = b'{"input": "a text", "model": "tiny"}'


@pytest.fixture
def fronts(tiny_checkpoint: Path) -> Iterator[ServerProcess]:
    flags = ("--http-address", "127.0.0.1:0", "--fronts", "2")
    with server_process(tiny_checkpoint, *flags, engine="process") as server:
        yield server


def status_until(address: str, path: str, wanted: int) -> Reply:
    until = time.monotonic() + WAIT
    while (reply := get(address, path)).status != wanted:
        assert time.monotonic() < until, reply
        time.sleep(0.05)
    return reply


def test_an_engine_that_dies_shows_in_readyz_until_its_successor_serves(
    fronts: ServerProcess,
) -> None:
    assert post(fronts.http, "/v1/embeddings", BODY, content_type="application/json").status == 200
    (engine,) = fronts.children("engine")
    os.kill(engine, signal.SIGKILL)
    status_until(fronts.http, "/readyz", 503)
    assert get(fronts.http, "/healthz").status == 200
    reply = post(fronts.http, "/v1/embeddings", BODY, content_type="application/json")
    if reply.status != 200:  # else the next engine serves already
        assert (reply.status, "retry-after" in reply.headers) == (503, True)
    status_until(fronts.http, "/readyz", 200)
    assert post(fronts.http, "/v1/embeddings", BODY, content_type="application/json").status == 200


def test_fronts_that_drain_answer_every_client(fronts: ServerProcess) -> None:
    """Each request is answered, and each connection that is closed had its last answer say so."""
    outcomes: list[object] = []
    refused = threading.Event()

    def call() -> None:
        try:
            with connected(fronts.http) as connection:
                while True:
                    connection.post("/v1/embeddings", BODY, content_type="application/json")
                    reply = connection.reply()
                    outcomes.append(reply.status)
                    if reply.headers.get("connection") == "close":
                        refused.set()
                        assert connection.is_closed()
                        return
        except Exception as error:
            outcomes.append(error)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    fronts.drain()
    for thread in threads:
        thread.join(WAIT)
    assert refused.is_set()
    assert set(outcomes) <= {200, 503}, outcomes
    assert outcomes.count(200) > 8
    assert fronts.process.wait(WAIT) == 0
