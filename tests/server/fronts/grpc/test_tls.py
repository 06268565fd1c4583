"""TLS: certificates replaced under load, bad files, and clients without the right certificate."""

import datetime
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from gemwire_server.config.options import ServerConfig
from gemwire_server.config.sources import ConfigError
from gemwire_server.processes import fronts as front
from gemwire_server.processes.single import background_server
from gemwire_server.security import Certificates, certificates, open_certificates
from support.certificates import DAY, Authority, Pair, credentials, replace, served_serial
from support.harness import text

WAIT = 30.0
REQUEST = pb.EmbedRequest(input=text("a text"))


@dataclass
class Files:
    """The server's certificate and key on disk."""

    cert: Path
    key: Path
    authority: Authority

    def options(self) -> dict[str, Any]:
        return {"tls_cert": str(self.cert), "tls_key": str(self.key)}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path / "cert.pem", tmp_path / "key.pem", Authority())
    made.authority.pair().write(made.cert, made.key)
    return made


@contextmanager
def secured(checkpoint: Path, files: Files, **options: Any) -> Iterator[str]:
    config = ServerConfig(
        model=str(checkpoint), address="127.0.0.1:0", **files.options(), **options
    )
    with background_server(config) as address:
        yield address


def embed_once(address: str, given: grpc.ChannelCredentials) -> grpc.StatusCode:
    """The status of one call on a connection of its own."""
    with grpc.secure_channel(address, given) as channel:
        try:
            EmbeddingServiceStub(channel).Embed(REQUEST, timeout=WAIT)
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            return error.code()
        return grpc.StatusCode.OK


def test_certificates_are_replaced_under_load_and_no_call_fails(
    tiny_checkpoint: Path, files: Files
) -> None:
    with secured(tiny_checkpoint, files) as address:
        given = credentials(files.authority)
        stop = threading.Event()
        outcomes: list[object] = []

        def call_on_one_connection() -> None:
            with grpc.secure_channel(address, given) as channel:
                stub = EmbeddingServiceStub(channel)
                while not stop.is_set():
                    try:
                        stub.Embed(REQUEST, timeout=WAIT)
                        outcomes.append(grpc.StatusCode.OK)
                    except grpc.RpcError as error:
                        outcomes.append(error)

        def call_on_new_connections() -> None:
            while not stop.is_set():
                outcomes.append(embed_once(address, given))

        threads = [
            threading.Thread(target=work)
            for work in (call_on_one_connection, call_on_one_connection, call_on_new_connections)
        ]
        for thread in threads:
            thread.start()
        try:
            replaced, until = 0, time.monotonic() + WAIT
            while replaced < 10 or (len(outcomes) <= 20 and time.monotonic() < until):
                pair = files.authority.pair()
                pair.write(files.cert, files.key)
                assert served_serial(address, files.authority) == pair.serial
                replaced += 1
        finally:
            stop.set()
            for thread in threads:
                thread.join(WAIT)
        assert len(outcomes) > 20
        assert set(outcomes) == {grpc.StatusCode.OK}


def half_of_the_certificate(files: Files, pair: Pair) -> None:
    replace(files.cert, pair.cert[: len(pair.cert) // 2])


def another_key(files: Files, pair: Pair) -> None:
    replace(files.key, pair.key)


def no_file(files: Files, pair: Pair) -> None:
    files.key.unlink()


def a_password(files: Files, pair: Pair) -> None:
    files.authority.pair(password="secret").write(files.cert, files.key)


def nothing(files: Files, pair: Pair) -> None:
    replace(files.cert, b"")


BAD = [half_of_the_certificate, another_key, no_file, a_password, nothing]


@pytest.mark.parametrize("spoil", BAD)
def test_bad_files_keep_the_certificate_and_are_logged_once(
    tiny_checkpoint: Path,
    files: Files,
    spoil: Callable[[Files, Pair], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad: list[str] = []

    monkeypatch.setattr(
        front, "open_certificates", lambda config, _: open_certificates(config, bad.append)
    )
    with secured(tiny_checkpoint, files) as address:
        first = served_serial(address, files.authority)
        spoil(files, files.authority.pair())
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                assert served_serial(address, files.authority) == first
        assert bad == ["certificate"]
        (told,) = [r.getMessage() for r in caplog.records if "stays in use" in r.getMessage()]
        assert ".pem" in told
        good = files.authority.pair()
        good.write(files.cert, files.key)
        assert served_serial(address, files.authority) == good.serial


def test_a_bug_in_the_reader_breaks_no_handshake(
    tiny_checkpoint: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    with secured(tiny_checkpoint, files) as address:
        first = served_serial(address, files.authority)

        def broken(*_: object) -> None:
            raise RuntimeError("broken on purpose")

        monkeypatch.setattr(certificates, "check_pair", broken)
        files.authority.pair().write(files.cert, files.key)
        assert served_serial(address, files.authority) == first


def test_clients_need_a_certificate_of_their_authority(
    tiny_checkpoint: Path, files: Files, tmp_path: Path
) -> None:
    clients, others = Authority("clients"), Authority("clients")  # a name proves nothing
    roots = tmp_path / "clients.pem"
    roots.write_bytes(clients.pem)
    with secured(tiny_checkpoint, files, tls_client_ca=str(roots)) as address:
        mine = clients.pair()
        refused = {
            "none": None,
            "another authority": others.pair(),
            "expired": clients.pair(left=datetime.timedelta(seconds=-60)),
            "not yet": clients.pair(left=31 * DAY),
        }
        for name, own in refused.items():
            found = embed_once(address, credentials(files.authority, own))
            assert found is grpc.StatusCode.UNAVAILABLE, name
        assert embed_once(address, credentials(files.authority, mine)) is grpc.StatusCode.OK
        replace(roots, others.pem)
        assert embed_once(address, credentials(files.authority, mine)) is not grpc.StatusCode.OK
        theirs = credentials(files.authority, refused["another authority"])
        assert embed_once(address, theirs) is grpc.StatusCode.OK


def test_a_client_of_another_authority_does_not_trust_the_server(
    tiny_checkpoint: Path, files: Files
) -> None:
    with secured(tiny_checkpoint, files) as address:
        given = credentials(Authority())
        assert embed_once(address, given) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("spoil", BAD)
def test_bad_files_at_the_start_are_one_line(
    files: Files, spoil: Callable[[Files, Pair], None]
) -> None:
    spoil(files, files.authority.pair())
    with pytest.raises(ConfigError, match=r"(cert|key)\.pem") as caught:
        Certificates(str(files.cert), str(files.key), "", lambda kind: None)
    assert "\n" not in str(caught.value)


def test_a_client_authority_that_is_none_is_refused(files: Files) -> None:
    for content in (b"", b"no PEM", files.key.read_bytes()):
        ca = files.cert.with_name("ca.pem")
        ca.write_bytes(content)
        with pytest.raises(ConfigError, match=r"ca\.pem"):
            Certificates(str(files.cert), str(files.key), str(ca), lambda kind: None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tls_cert": "c"}, "go together"),
        ({"tls_key": "k"}, "go together"),
        ({"tls_client_ca": "c"}, "need TLS"),
        ({"tls_cert": "c", "tls_key": "k", "address": "unix:/tmp/s"}, "takes no TLS"),
        ({"admin_address": "127.0.0.1:50051"}, "are the same"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ServerConfig(model="m", **options)
