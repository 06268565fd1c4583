"""Methods over HTTP: their bodies, errors, request ids and the calls that end early."""

import json
import logging
import re

import pytest

from support.harness import Served
from support.http_front import RawConnection, connected, get, post


def test_a_method_answers_on_each_of_its_paths_and_keeps_the_connection(served: Served) -> None:
    with connected(served.http_address) as connection:
        for path in ("/echo", "/echo/two", "/echo?query=1"):
            connection.post(path, b'["a"]')
            reply = connection.reply()
            assert (reply.status, reply.body) == (200, b'["a"]')
            assert reply.headers["content-type"] == "application/json"
            assert "connection" not in reply.headers
        connection.post("/embed", b'["one", "two"]')
        assert len(connection.reply().json()) == 2


def chunked(connection: RawConnection, *chunks: bytes) -> None:
    connection.send(b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    for chunk in chunks:
        connection.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))


def test_chunked_bodies_are_put_together_and_counted(served: Served) -> None:
    with connected(served.http_address) as connection:
        chunked(connection, b'["a",', b'"b"]', b"")
        assert connection.reply().json() == ["a", "b"]
        chunked(connection, b'["', *([b"a" * 2**16] * 17))
        reply = connection.reply()
        assert (reply.status, reply.json()["reason"]) == (413, "BODY_TOO_LARGE")
        assert reply.headers["connection"] == "close"


def test_a_body_that_is_announced_as_too_large_is_refused_unread(served: Served) -> None:
    with connected(served.http_address) as connection:
        connection.send(
            f"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {2**20 + 1}\r\n"
            "expect: 100-continue\r\n\r\n"
        )
        reply = connection.reply()  # before anything of the body, and no 100
        assert reply.status == 413
        assert reply.headers["connection"] == "close"


def test_what_is_left_of_a_refused_body_is_no_request(served: Served) -> None:
    hidden = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n[]"
    with connected(served.http_address) as connection:
        body = hidden + b" " * 2**21
        connection.post("/echo", body)  # whole, before it reads
        reply = connection.reply()
        assert (reply.status, reply.headers["connection"]) == (413, "close")
        assert connection.is_closed()


def test_a_body_that_is_expected_is_asked_for(served: Served) -> None:
    with connected(served.http_address) as connection:
        connection.send(
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
        )
        assert connection.reply().status == 100
        connection.send(b"[]")
        assert connection.reply().status == 200


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/echo", {"content_encoding": "gzip"}, 415),
        ("/echo", {"content_encoding": "identity"}, 200),
        ("/echo", {"content_type": "application/x-www-form-urlencoded"}, 200),
        ("/strict", {"content_type": "application/x-www-form-urlencoded"}, 415),
        ("/strict", {}, 415),
        ("/strict", {"content_type": "Application/JSON; charset=utf-8"}, 200),
    ],
)
def test_the_kind_of_a_body(
    served: Served, path: str, headers: dict[str, str], status: int
) -> None:
    assert post(served.http_address, path, b"[]", **headers).status == status


def test_http_1_0_works_and_closes(served: Served) -> None:
    with connected(served.http_address) as connection:
        connection.send("POST /echo HTTP/1.0\r\ncontent-length: 2\r\n\r\n[]")
        assert connection.reply().body == b"[]"
        assert connection.is_closed()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("my-id.1", True),
        ("a b", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("\u00fc", False),
        ("a\tb", False),
        ("", False),
    ],
)
def test_a_printable_request_id_of_the_clients_comes_back(
    served: Served, sent: str, kept: bool
) -> None:
    reply = post(served.http_address, "/echo", b"[]", x_request_id=sent)
    if kept:
        assert reply.headers["x-request-id"] == sent
    else:
        assert re.fullmatch("[0-9a-f]{32}", reply.headers["x-request-id"])
    refused = post(served.http_address, "/echo", b"no JSON", x_request_id="mine")
    assert (refused.status, refused.headers["x-request-id"]) == (400, "mine")


def test_no_exception_text_reaches_the_caller_or_the_log(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        reply = post(served.http_address, "/bug", b"a secret text")
    assert (reply.status, reply.json()["reason"]) == (500, "INTERNAL")
    assert b"secret" not in reply.body
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_uvicorn_logs_nothing(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        with connected(served.http_address) as connection:
            connection.send("no HTTP\r\n\r\n")
            assert connection.reply().status == 400
        get(served.http_address, "/nothing")
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"\xff", b'"\\ud800"', b"\xef\xbb\xbf[]"])
def test_what_is_not_json_is_refused_without_its_text(served: Served, body: bytes) -> None:
    reply = post(served.http_address, "/echo", body)
    assert reply.status == 400
    assert reply.json() == {
        "reason": "MALFORMED_MESSAGE",
        "message": "the body is not JSON in UTF-8",
    }
    deep = post(served.http_address, "/echo", b"[" * 5000 + b"]" * 5000)
    assert (deep.status, deep.json()["reason"]) == (400, "MALFORMED_MESSAGE")


def test_many_tiny_values_are_refused_before_they_are_objects(served: Served) -> None:
    for body in (b"[" + b"[]," * 300_000 + b"[]]", json.dumps(["a"] * 100_000).encode()):
        reply = post(served.http_address, "/echo", body)
        assert (reply.status, reply.json()["reason"]) == (400, "TOO_MANY_INPUTS")
    words = json.dumps(['word, \\ " [text] {} :' * 9000] * 4).encode()
    assert post(served.http_address, "/echo", words).status == 200
