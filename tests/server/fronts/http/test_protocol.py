"""Connections of HTTP/1.1 by hand: what is no HTTP, too much, too slow, or pipelined."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from gemwire_server.fronts.http import bodies, connections, protocol
from support.harness import Served, running
from support.http_front import connected, post

ECHO = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n"
PATIENCE = 10.0


@pytest.mark.parametrize(
    "sent",
    [
        "what is this\r\n\r\n",
        "GET / HTTP/9.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /\x00 HTTP/1.1\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n[]",
        "POST /echo HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\ncontent-length: -2\r\n\r\n[]",
        "POST /echo HTTP/1.1\r\ncontent-length: 2, 2\r\n\r\n[]",
        "POST /echo HTTP/1.1\r\nno colon\r\n\r\n",
        "POST /echo HTTP/1.1\r\nx: a\rb\r\n\r\n",
        "POST /echo HTTP/1.1\r\nx: a\r\n folded: b\r\n\r\n",
        "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[]bad",
    ],
)
def test_what_is_not_http_is_refused_and_the_connection_ends(served: Served, sent: str) -> None:
    with connected(served.http_address) as connection:
        connection.send(sent)
        reply = connection.reply()
        assert reply.status == 400
        assert reply.headers["connection"] == "close"
        assert reply.json()["error"]["code"] == "bad_request"
        assert connection.is_closed()


def test_what_follows_a_refusal_is_no_request(served: Served) -> None:
    with connected(served.http_address) as connection:
        connection.send("nothing\r\n\r\n")
        assert connection.reply().status == 400
        connection.send(ECHO + '["b"')
        assert connection.is_closed()


@pytest.mark.parametrize(
    "headers",
    [
        "x: " + "a" * 20_000 + "\r\n",
        "".join(f"x{number}: a\r\n" for number in range(2000)),
        "a" * 20_000 + ": b\r\n",
    ],
    ids=["value", "many", "name"],
)
def test_headers_have_a_limit(served: Served, headers: str) -> None:
    with connected(served.http_address) as connection:
        connection.send(f"POST /echo HTTP/1.1\r\n{headers}\r\n")
        reply = connection.reply()
        assert (reply.status, reply.json()["error"]["code"]) == (431, "headers_too_large")
        assert connection.is_closed()
    assert post(served.http_address, "/echo", b"[]", x="a" * 16_000).status == 200


@pytest.mark.parametrize(
    "start",
    [
        "GET /",
        "POST /echo HTTP/1.1\r\nx: ",
        "POST /echo HTTP/1.1\r\n",
        "\r\n" * 100,
        "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\ntrailer: ",
        "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;",
    ],
    ids=["url", "value", "name", "lines", "trailer", "extension"],
)
def test_endless_bytes_beside_bodies_are_refused(served: Served, start: str) -> None:
    part = b"\r\n" if start == "\r\n" * 100 else b"aa"
    with connected(served.http_address) as connection:
        connection.send(start)
        connection.send(part * 2**19)
        reply = connection.reply()
        assert (reply.status, reply.json()["error"]["code"]) == (431, "headers_too_large")
        assert connection.is_closed()


def test_a_body_of_tiny_chunks_is_refused(served: Served) -> None:
    with connected(served.http_address) as connection:
        connection.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        connection.send(b"1\r\n \r\n" * 100_000)
        reply = connection.reply()
        assert (reply.status, reply.json()["error"]["code"]) == (400, "too_many_chunks")


def test_trailers_do_not_become_headers(served: Served) -> None:
    with connected(served.http_address) as connection:
        connection.send(
            "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
            "2\r\n[]\r\n0\r\nx-request-id: mine\r\n\r\n"
        )
        reply = connection.reply()
        assert reply.status == 200
        assert reply.headers["x-request-id"] != "mine"


def test_pipelined_requests_are_answered_in_their_order(served: Served) -> None:
    with connected(served.http_address) as connection:
        slow = b'{"seconds": 0.2}'
        connection.send(
            f"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: {len(slow)}\r\n\r\n".encode() + slow
        )
        connection.send("".join(ECHO + f"[{number:2}]" for number in range(10)))
        assert connection.reply().body == b"{}"
        assert [connection.reply().json() for _ in range(10)] == [[n] for n in range(10)]


def test_more_pipelined_requests_than_are_kept_end_the_connection(served: Served) -> None:
    with connected(served.http_address) as connection:
        connection.send("".join(ECHO + f"[{number:2}]" for number in range(99)))
        answers = []
        try:
            while True:
                answers.append(connection.reply())
        except (EOFError, ConnectionResetError):
            pass
        found = [answer.json() for answer in answers]
        assert found == [[number] for number in range(len(found))]
        assert protocol.MAX_PIPELINED <= len(found) <= protocol.MAX_PIPELINED + 2
        assert answers[-1].headers["connection"] == "close"


def test_bad_bytes_after_a_request_do_not_take_its_place(served: Served) -> None:
    with connected(served.http_address) as connection:
        connection.send(ECHO + "[ 1]" + "no HTTP\r\n\r\n")
        reply = connection.reply()
        assert (reply.status, reply.body) == (200, b"[1]")
        assert connection.is_closed()


def test_a_request_that_offers_another_protocol_is_answered_in_this_one(served: Served) -> None:
    offer = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    with connected(served.http_address) as connection:
        for _ in range(3):
            connection.send(f"POST /echo HTTP/1.1\r\n{offer}content-length: 2\r\n\r\n[]")
            assert connection.reply().body == b"[]"
        connection.send(f"GET /info HTTP/1.1\r\n{offer}\r\n{ECHO}[ 1]")
        assert (connection.reply().body, connection.reply().body) == (b"{}", b"[1]")


def limited(checkpoint: Path, **options: Any) -> Any:
    return running(str(checkpoint), http_address="127.0.0.1:0", **options)


@pytest.mark.parametrize(
    ("sent", "status"),
    [("", None), ("\r\n", None), ("POST /echo HT", 408), ("POST /echo HTTP/1.1\r\nx: y\r\n", 408)],
)
def test_slow_headers_are_not_waited_for(
    tiny_checkpoint: Path,
    small_api: None,
    monkeypatch: pytest.MonkeyPatch,
    sent: str,
    status: int | None,
) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    with limited(tiny_checkpoint) as served:
        for before in ("", ECHO + "[ 1]"):
            with connected(served.http_address) as connection:
                connection.send(before)
                if before:
                    connection.reply()
                if before and not sent:
                    continue  # idle: that is allowed for longer
                began = time.monotonic()
                connection.send(sent)
                if status is not None:
                    assert connection.reply().status == status
                assert connection.is_closed()
                assert 0.3 < time.monotonic() - began < PATIENCE


def test_slow_bodies_are_not_waited_for(
    tiny_checkpoint: Path, small_api: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.5)
    with limited(tiny_checkpoint) as served, connected(served.http_address) as connection:
        connection.send(ECHO + "[")
        reply = connection.reply()
        assert (reply.status, reply.json()["reason"]) == (408, "BODY_TIMEOUT")
        assert reply.headers["connection"] == "close"


def test_slow_bodies_take_no_place_of_other_calls(tiny_checkpoint: Path, small_api: None) -> None:
    with limited(tiny_checkpoint, max_concurrent_calls=2) as served:
        slow = [socket.create_connection(_pair(served.http_address)) for _ in range(3)]
        for each in slow:
            each.sendall((ECHO + "[").encode())
        time.sleep(0.2)
        assert post(served.http_address, "/echo", b"[]").status == 200
        for each in slow:
            each.close()


def _pair(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
