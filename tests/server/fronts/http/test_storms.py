"""Many bad clients at once: they get the right status, memory stays bounded, another client is served."""

import json
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from support.http_front import RawConnection, connected, post
from support.server_process import ServerProcess, server_process

WAIT = 60.0
BODY = b'{"input": "a text", "model": "tiny"}'
# Of the server's processes together, beside what they hold at rest.
MOST_MIB = 300.0
# The pace of the other client: a tiny model answers in milliseconds, and two cores run the storm too.
MEDIAN_SECONDS = 0.25
LONGEST_SECONDS = 3.0


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path) -> Iterator[ServerProcess]:
    flags = ("--http-address", "127.0.0.1:0", "--max-concurrent-calls", "256")
    with server_process(tiny_checkpoint, *flags, engine="process") as made:
        for _ in range(3):
            assert (
                post(made.http, "/v1/embeddings", BODY, content_type="application/json").status
                == 200
            )
        yield made


class OtherClient:
    """Calls on one connection for as long as the block lasts, and looks at the server's memory."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seconds: list[float] = []
        self.statuses: set[int] = set()
        self.most_mib = 0.0

    def _run(self) -> None:
        with connected(self._server.http) as connection:
            self._call(connection)
            while not self._stop.is_set():
                self._call(connection)
                self.most_mib = max(self.most_mib, self._server.resident_mib())
                time.sleep(0.02)

    def _call(self, connection: RawConnection) -> None:
        began = time.monotonic()
        connection.post("/v1/embeddings", BODY, content_type="application/json")
        self.statuses.add(connection.reply().status)
        self.seconds.append(time.monotonic() - began)

    def __enter__(self) -> "OtherClient":
        self._before = self._server.resident_mib()
        self._thread.start()
        while not self.seconds and self._thread.is_alive():
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        print(
            f"{len(self.seconds)} calls, median {statistics.median(self.seconds):.4f} s, "
            f"longest {max(self.seconds):.3f} s, {self.most_mib - self._before:.0f} MiB more"
        )
        assert self.statuses == {200}
        assert statistics.median(self.seconds) < MEDIAN_SECONDS
        assert max(self.seconds) < LONGEST_SECONDS
        assert self.most_mib - self._before < MOST_MIB


def at_once(count: int, work: Callable[[], object]) -> list[object]:
    """The outcomes of `count` threads; an OSError or EOFError is one."""
    outcomes: list[object] = []

    def run() -> None:
        try:
            outcomes.append(work())
        except (OSError, EOFError) as error:
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    return outcomes


def status(server: ServerProcess, body: bytes) -> int:
    return post(server.http, "/v1/embeddings", body, content_type="application/json").status


def pair(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("sent", [b"", b"POST /v1/embeddings HTTP/1.1\r\nx: "], ids=["", "headers"])
def test_a_storm_of_connections(server: ServerProcess, sent: bytes) -> None:
    with OtherClient(server) as other, ExitStack() as stack:
        refused = 0
        storm = []
        for _ in range(2000):
            made = stack.enter_context(socket.create_connection(pair(server.http), timeout=WAIT))
            with suppress(OSError):
                made.sendall(sent)
            storm.append(made)
        time.sleep(1.0)
        for made in storm:
            made.setblocking(False)
            try:
                refused += made.recv(12) == b"HTTP/1.1 503"
            except ConnectionError:
                refused += 1
            except BlockingIOError:
                pass
    other.check()
    assert 1400 < refused < 1600  # the limit is 512
    until = time.monotonic() + WAIT
    while post(server.http, "/v1/embeddings", BODY, content_type="application/json").status != 200:
        assert time.monotonic() < until


def test_slow_bodies(server: ServerProcess) -> None:
    with OtherClient(server) as other, ExitStack() as stack:
        slow = [stack.enter_context(connected(server.http)) for _ in range(400)]
        for each in slow:
            each.send(
                "POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
                "content-length: 1000000\r\n\r\n"
            )
        for _ in range(5):
            for each in slow:
                each.send(b" " * 100)
            time.sleep(0.2)
    other.check()


def test_bodies_of_100_megabytes(server: ServerProcess) -> None:
    body = b" " * 10**8

    def announced() -> object:
        return post(server.http, "/v1/embeddings", body, content_type="application/json").status

    def in_chunks() -> object:
        with connected(server.http) as connection:
            connection.send(
                "POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
                "transfer-encoding: chunked\r\n\r\n"
            )
            for _ in range(100):
                connection.send(b"f4240\r\n" + body[: 10**6] + b"\r\n")
            connection.send("0\r\n\r\n")
            return connection.reply().status

    with OtherClient(server) as other:
        outcomes = at_once(4, announced) + at_once(4, in_chunks)
    other.check()
    assert outcomes == [413] * 8


def test_a_hundred_thousand_inputs(server: ServerProcess) -> None:
    values: tuple[list[object], ...] = (
        [""] * 100_000,
        ["a text"] * 100_000,
        [[]] * 100_000,
        [[1, 2]] * 100_000,
        ["a"] * 5000,
    )
    bodies = [json.dumps({"input": each, "model": "tiny"}).encode() for each in values]
    lists = b'{"input": [' + b"[]," * 5_000_000 + b"[]]}"  # 15 MB
    strings = b'{"input": [' + b'"" ,' * 3_500_000 + b'""]}'
    with OtherClient(server) as other:
        for body in [*bodies, lists, strings]:
            assert set(at_once(4, partial(status, server, body))) <= {
                400,
                429,
            }
    other.check()


def test_large_bodies_at_once(server: ServerProcess) -> None:
    """15 MB of legal JSON each, in two texts that are too long for any model."""
    body = json.dumps({"input": ["many words, [in] one text " * 290_000] * 2}).encode()
    with OtherClient(server) as other:
        outcomes = at_once(12, partial(status, server, body))
    other.check()
    assert set(outcomes) <= {400, 404, 413, 429}
