"""Connections together: their number, their age, and answers that clients do not read."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gemwire_server.fronts.http import connections
from support.certificates import Authority
from support.harness import Served, running
from support.http_front import RawConnection, connected, post

ECHO = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n"
PATIENCE = 10.0


def limited(checkpoint: Path, **options: Any) -> Any:
    return running(str(checkpoint), http_address="127.0.0.1:0", **options)


def _pair(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def test_connections_above_the_limit_are_refused_and_the_others_go_on(
    tiny_checkpoint: Path, small_api: None
) -> None:
    with limited(tiny_checkpoint, max_concurrent_calls=2) as served:
        with connected(served.http_address) as first:
            rest = [socket.create_connection(_pair(served.http_address)) for _ in range(3)]
            first.send(ECHO + "[ 1]")
            assert first.reply().status == 200
            with connected(served.http_address) as refused:
                reply = refused.reply()
                assert (reply.status, reply.headers["retry-after"]) == (503, "1")
                assert reply.json()["error"]["type"] == "server_error"
                assert reply.headers["connection"] == "close"
                assert refused.is_closed()
            first.send(ECHO + "[ 1]")
            assert first.reply().status == 200
            for each in rest:
                each.close()
        until = time.monotonic() + PATIENCE
        while post(served.http_address, "/echo", b"[]").status != 200:
            assert time.monotonic() < until


def test_connections_end_after_the_answer_at_their_age(
    tiny_checkpoint: Path, small_api: None
) -> None:
    with (
        limited(tiny_checkpoint, max_connection_age=0.5) as served,
        connected(served.http_address) as connection,
    ):
        connection.send(ECHO + "[ 1]")
        assert "connection" not in connection.reply().headers
        time.sleep(0.6)
        connection.send(ECHO + "[ 1]")
        reply = connection.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert connection.is_closed()


# More than the buffers of the two sockets hold.
LARGE = 2**25


Unread = tuple[dict[str, Any], Callable[[Served], AbstractContextManager[RawConnection]]]


@pytest.fixture(params=["plain", "tls"])
def unread(request: pytest.FixtureRequest, files: dict[str, str], authority: Authority) -> Unread:
    """Options of a server, and how a client connects to it that has little room for answers."""
    context = None
    if request.param == "tls":
        context = ssl.create_default_context(cadata=authority.pem.decode())

    @contextmanager
    def connect(served: Served) -> Iterator[RawConnection]:
        with socket.create_connection(_pair(served.http_address), timeout=PATIENCE) as plain:
            used = context.wrap_socket(plain, server_hostname="127.0.0.1") if context else plain
            with closing(RawConnection(used)) as connection:
                yield connection

    return files if context else {}, connect


def ask_for_zeros(connection: RawConnection, count: int, /, **headers: str) -> None:
    connection.post("/zeros", str(count).encode(), **headers)


@pytest.mark.parametrize("close", [False, True])
def test_an_answer_that_is_not_read_ends_the_connection(
    tiny_checkpoint: Path,
    small_api: None,
    monkeypatch: pytest.MonkeyPatch,
    unread: Unread,
    close: bool,
) -> None:
    monkeypatch.setattr(connections, "SEND_SECONDS", 1.0)
    options, connect = unread
    with limited(tiny_checkpoint, **options) as served, connect(served) as connection:
        ask_for_zeros(connection, 2 * LARGE, **({"connection": "close"} if close else {}))
        time.sleep(2.5)
        got = 0
        try:
            while part := connection.socket.recv(2**20):
                got += len(part)
        except ConnectionResetError:
            pass
        assert got < 2 * LARGE


def test_a_slow_reader_gets_its_answer(
    tiny_checkpoint: Path, small_api: None, monkeypatch: pytest.MonkeyPatch, unread: Unread
) -> None:
    monkeypatch.setattr(connections, "SEND_SECONDS", 5.0)
    options, connect = unread
    with limited(tiny_checkpoint, **options) as served, connect(served) as connection:
        ask_for_zeros(connection, LARGE)
        time.sleep(0.5)
        assert len(connection.reply().body) == LARGE


def test_answers_that_are_not_read_have_a_limit_together(
    tiny_checkpoint: Path, small_api: None, monkeypatch: pytest.MonkeyPatch, unread: Unread
) -> None:
    monkeypatch.setattr(connections, "UNREAD_ANSWERS", 10)  # of 4 MiB
    options, connect = unread
    with limited(tiny_checkpoint, **options) as served:
        with connect(served) as first, connect(served) as second:
            ask_for_zeros(first, LARGE)
            time.sleep(0.3)
            ask_for_zeros(second, LARGE)
            time.sleep(0.3)
            read: list[int] = []

            def drain(connection: RawConnection) -> None:
                try:
                    read.append(len(connection.reply().body))
                except ConnectionResetError:
                    read.append(-1)

            for each in (first, second):
                thread = threading.Thread(target=drain, args=(each,))
                thread.start()
                thread.join()
        assert read[0] < LARGE
        assert read[1] == LARGE
