"""The HTTP front as a whole: TLS, tokens that it shares with gRPC."""

import http.client
import logging
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.config.options import ServerConfig
from gemwire_server.fronts.http import server
from gemwire_server.processes.single import background_application
from gemwire_server.security import tokens as tokens_module
from gemwire_server.security.tokens import make
from support.certificates import Authority, Pair
from support.harness import failure, running, text
from support.http_front import connected, get, post
from support.token_files import bearer, write

WAIT = 30.0


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> dict[str, str]:
    """The server's certificate and key on disk, as options."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.pair().write(cert, key)
    return {"tls_cert": str(cert), "tls_key": str(key)}


def trusting(authority: Authority, own: Pair | None = None, folder: Path | None = None) -> Any:
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if own is not None and folder is not None:
        own.write(folder / "own.pem", folder / "own.key")
        context.load_cert_chain(folder / "own.pem", folder / "own.key")
    return context


def secure_status(address: str, context: ssl.SSLContext) -> int:
    connection = http.client.HTTPSConnection(address, timeout=WAIT, context=context)
    try:
        connection.request("POST", "/echo", b"[]")
        return connection.getresponse().status
    finally:
        connection.close()


def shown_serial(address: str, context: ssl.SSLContext) -> int:
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=WAIT) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        shown = secured.getpeercert()
        assert shown is not None
        return int(str(shown["serialNumber"]), 16)


def test_certificates_are_replaced_and_connections_stay(
    tiny_checkpoint: Path, small_api: None, files: dict[str, str], authority: Authority
) -> None:
    with background_application(config(tiny_checkpoint, **files)) as app:
        context = trusting(authority)
        stop, outcomes = threading.Event(), []

        def call_on_one_connection() -> None:
            connection = http.client.HTTPSConnection(
                app.http_address, timeout=WAIT, context=context
            )
            while not stop.is_set():
                connection.request("POST", "/echo", b"[]")
                outcomes.append(connection.getresponse().read())

        thread = threading.Thread(target=call_on_one_connection)
        thread.start()
        for _ in range(3):
            pair = authority.pair()
            pair.write(Path(files["tls_cert"]), Path(files["tls_key"]))
            assert shown_serial(app.http_address, context) == pair.serial
            # And gRPC's connections, although HTTP's were the first to see the change.
            with grpc.secure_channel(
                app.address, grpc.ssl_channel_credentials(authority.pem)
            ) as channel:
                grpc.channel_ready_future(channel).result(WAIT)
        stop.set()
        thread.join()
        assert outcomes and set(outcomes) == {b"[]"}


def test_grpc_shows_the_certificate_that_http_saw_first(
    tiny_checkpoint: Path, small_api: None, files: dict[str, str], authority: Authority
) -> None:
    with background_application(config(tiny_checkpoint, **files)) as app:
        context = trusting(authority)
        h2 = trusting(authority)
        h2.set_alpn_protocols(["h2"])
        shown_serial(app.address, h2)
        for first, second in (((app.http_address, context), (app.address, h2)),) * 2:
            pair = authority.pair()
            pair.write(Path(files["tls_cert"]), Path(files["tls_key"]))
            assert shown_serial(*first) == shown_serial(*second) == pair.serial


def config(checkpoint: Path, **options: Any) -> ServerConfig:
    addresses = {"address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}
    return ServerConfig(model=str(checkpoint), **(addresses | options))


def test_clients_show_a_certificate_where_the_server_asks(
    tiny_checkpoint: Path,
    small_api: None,
    files: dict[str, str],
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_bytes(authority.pem)
    options = {**files, "tls_client_ca": str(roots)}
    with (
        caplog.at_level(logging.DEBUG),
        background_application(config(tiny_checkpoint, **options)) as app,
    ):
        ours = trusting(authority, authority.pair(), tmp_path)
        assert secure_status(app.http_address, ours) == 200
        for bad in (
            trusting(authority),
            trusting(authority, Authority("another").pair(), tmp_path),
        ):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                secure_status(app.http_address, bad)
        assert secure_status(app.http_address, ours) == 200
        # The authority is replaced: what it signed is good no longer, whatever session is resumed.
        roots.write_bytes(Authority("next").pem)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            secure_status(app.http_address, ours)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_old_tls_and_plain_text_are_refused_and_disturb_nobody(
    tiny_checkpoint: Path, small_api: None, files: dict[str, str], authority: Authority
) -> None:
    with background_application(config(tiny_checkpoint, **files)) as app:
        old = trusting(authority)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            secure_status(app.http_address, old)
        with connected(app.http_address) as plain:
            plain.send("POST /echo HTTP/1.1\r\ncontent-length: 2\r\n\r\n[]")
            assert plain.is_closed()
        assert secure_status(app.http_address, trusting(authority)) == 200


def test_handshakes_are_not_waited_for(
    tiny_checkpoint: Path,
    small_api: None,
    files: dict[str, str],
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_SECONDS", 0.5)
    with (
        background_application(config(tiny_checkpoint, **files)) as app,
        connected(app.http_address) as silent,
    ):
        assert secure_status(app.http_address, trusting(authority)) == 200
        assert silent.is_closed()


@pytest.fixture
def tokens_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tokens_module, "LOOK_SECONDS", 0.0)
    return tmp_path / "tokens"


@pytest.mark.parametrize("given", [{}, {"authorization": "Basic Zm9v"}, {"api_key": "TOKEN"}])
def test_calls_need_a_token_before_their_body_is_read(
    tiny_checkpoint: Path, small_api: None, tokens_file: Path, given: dict[str, str]
) -> None:
    token, line = make("somebody")
    write(tokens_file, line)
    given = {name: value.replace("TOKEN", token) for name, value in given.items()}
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", tokens_file=str(tokens_file)
    ) as served:
        with connected(served.http_address) as connection:
            fields: Any = {"content_length": "1000", "expect": "100-continue", **given}
            connection.post("/echo", **fields)
            reply = connection.reply()
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
            assert reply.headers["connection"] == "close"
        assert get(served.http_address, "/readyz").status == 200
        assert get(served.http_address, "/healthz").status == 200
        for scheme in ("Bearer", "bearer"):
            good = {"authorization": f"{scheme} {token}"}
            assert post(served.http_address, "/echo", b"[]", **good).status == 200
        write(tokens_file, make("another")[1])
        assert post(served.http_address, "/echo", b"[]", **good).status == 401


def test_a_token_has_one_quota_over_http_and_grpc(
    tiny_checkpoint: Path, small_api: None, tokens_file: Path
) -> None:
    token, line = make("somebody", 1, 20)
    write(tokens_file, line)
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", tokens_file=str(tokens_file)
    ) as served:
        given = {"authorization": f"Bearer {token}"}
        long = b'["' + b"many words " * 40 + b'"]'
        assert post(served.http_address, "/embed", long, **given).status == 200
        with pytest.raises(grpc.RpcError) as caught:
            served.embedding.Embed(pb.EmbedRequest(input=text("a")), metadata=bearer(token))
        assert failure(caught.value).reason == "QUOTA_EXCEEDED"
        reply = post(served.http_address, "/embed", b'["a"]', **given)
        assert (reply.status, reply.json()["reason"]) == (429, "QUOTA_EXCEEDED")


def test_tokens_in_clear_are_warned_of(
    tiny_checkpoint: Path, small_api: None, tokens_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tokens_file, make("somebody")[1])
    for address, warned in (("0.0.0.0:0", True), ("127.0.0.1:0", False)):
        caplog.clear()
        with (
            caplog.at_level(logging.WARNING),
            background_application(
                config(tiny_checkpoint, http_address=address, tokens_file=str(tokens_file))
            ),
        ):
            pass
        assert ("travel in clear" in caplog.text) == warned
