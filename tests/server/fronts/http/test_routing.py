"""Paths and verbs that no method has, and what a bug outside of methods says."""

import logging

import pytest

from support.harness import Served
from support.http_front import connected, get, post


@pytest.mark.parametrize(
    "path", ["/nothing", "/echo/", "//", "/ECHO", "/echo%2Ftwo/three", "//echo"]
)
def test_an_unknown_path_is_not_found(served: Served, path: str) -> None:
    reply = post(served.http_address, path, b"[]")
    assert reply.status == 404
    assert reply.json()["error"] == {
        "message": "there is nothing at this path",
        "type": "invalid_request_error",
        "param": None,
        "code": "not_found",
    }


def test_a_verb_that_a_path_does_not_take(served: Served) -> None:
    reply = get(served.http_address, "/echo")
    assert (reply.status, reply.headers["allow"]) == (405, "OPTIONS, POST")
    assert reply.json()["error"]["code"] == "method_not_allowed"
    reply = post(served.http_address, "/info", b"[]")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert get(served.http_address, "/readyz", "DELETE").status == 405


def test_head_and_options(served: Served) -> None:
    with connected(served.http_address) as connection:
        connection.send("HEAD /info HTTP/1.1\r\nhost: a\r\n\r\n")
        line = connection.socket.recv(65536)
        assert line.startswith(b"HTTP/1.1 200 ")
        assert line.endswith(b"\r\n\r\n")  # no body
        connection.send("OPTIONS /echo HTTP/1.1\r\nhost: a\r\n\r\n")
        reply = connection.reply()
        assert (reply.status, reply.headers["allow"]) == (204, "OPTIONS, POST")
        assert "access-control-allow-origin" not in reply.headers
        connection.send("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n")
        assert connection.reply().status in (400, 404)


def test_a_large_body_on_an_unknown_path_ends_the_connection(served: Served) -> None:
    with connected(served.http_address) as connection:
        connection.post("/nothing", b" " * 2**22)
        reply = connection.reply()
        assert (reply.status, reply.headers["connection"]) == (404, "close")
        assert connection.is_closed()


def test_unknown_paths_make_no_series(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        post(served.http_address, "/a-path-of-its-own", b"[]")
    assert "a-path-of-its-own" not in caplog.text
