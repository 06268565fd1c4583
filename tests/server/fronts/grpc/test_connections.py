"""Connections: pings, their age, and the admin address."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client import Client
from gemwire_server.fronts.grpc import handlers as methods
from gemwire_server.fronts.grpc import server as front
from gemwire_server.security.tokens import make
from gemwire_server.service.call import Caller
from support.harness import SERVICES, running, text
from support.server_process import server_process

WAIT = 30.0
PING_SECONDS = 0.2
PINGS = 8  # a server forgives two that come too soon
PING, GOAWAY = 6, 7


def frame(kind: int, payload: bytes) -> bytes:
    """An HTTP/2 frame of the connection."""
    return len(payload).to_bytes(3) + bytes([kind, 0]) + bytes(4) + payload


@pytest.mark.parametrize("least", [PING_SECONDS / 4, 60.0])
def test_only_a_client_that_pings_too_often_gets_goaway(
    tiny_checkpoint: Path, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert front.LEAST_PING_SECONDS < 10
    monkeypatch.setattr(front, "LEAST_PING_SECONDS", least)
    with running(str(tiny_checkpoint)) as served:
        host, _, port = served.address.rpartition(":")
        # gRPC's own clients ping once in seconds at most.
        with socket.create_connection((host, int(port)), timeout=WAIT) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, b""))
            kinds: list[int] = []
            reader = threading.Thread(target=read_frames, args=(connection, kinds))
            reader.start()
            for _ in range(PINGS):
                time.sleep(PING_SECONDS)
                if GOAWAY in kinds:
                    break
                connection.sendall(frame(PING, bytes(8)))
            time.sleep(PING_SECONDS)
            connection.shutdown(socket.SHUT_WR)
            reader.join(WAIT)
    assert (GOAWAY in kinds) == (least > PING_SECONDS), kinds
    if least < PING_SECONDS:
        assert kinds.count(PING) == PINGS


def read_frames(connection: socket.socket, kinds: list[int]) -> None:
    """Collects the kinds of frames until the server closes the connection."""
    with contextlib.suppress(OSError), connection.makefile("rb") as file:
        while len(head := file.read(9)) == 9:
            kinds.append(head[3])
            file.read(int.from_bytes(head[:3]))


def test_clients_do_not_notice_that_connections_end(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers: set[str] = set()

    class Noted(Caller):
        @classmethod
        def named(cls, name: str) -> Caller:
            peers.add(name)
            return Caller.named(name)

    monkeypatch.setattr(methods, "Caller", Noted)
    with running(str(tiny_checkpoint), max_connection_age=0.5) as served:
        stop = threading.Event()
        done: dict[str, int] = {"unary": 0, "stream": 0}
        errors: list[Exception] = []

        def call() -> None:
            try:
                with Client(served.address) as client:
                    while not stop.is_set():
                        client.embed("a text")
                        done["unary"] += 1
            except Exception as error:
                errors.append(error)

        def stream() -> None:
            endless = itertools.takewhile(lambda _: not stop.is_set(), itertools.repeat("a"))
            try:
                with Client(served.address) as client:
                    for _ in client.embed_iter(endless):
                        done["stream"] += 1
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for work in (call, call, stream, stream)]
        for thread in threads:
            thread.start()
        time.sleep(4)
        stop.set()
        for thread in threads:
            thread.join(WAIT)
        assert errors == []
        assert done["unary"] > 10 and done["stream"] > 10
        assert len(peers) >= 4  # connections, which clients of one process share


def test_a_stream_on_an_old_connection_gets_go_away(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), max_connection_age=0.5) as served:
        told = threading.Event()

        def requests() -> Iterator[pb.EmbedStreamRequest]:
            yield pb.EmbedStreamRequest(open=pb.StreamOpen())
            told.wait(WAIT)
            yield pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[text("a")]))

        call = served.embedding.EmbedStream(requests(), timeout=WAIT)
        assert next(call).HasField("opened")
        assert "age" in next(call).go_away.reason
        told.set()  # what still comes is still answered
        assert len(next(call).results.results) == 1
        assert list(call) == []


@pytest.mark.parametrize("engine", ["thread", "process"])
def test_the_admin_address_has_health_and_reflection(
    tiny_checkpoint: Path, tmp_path: Path, engine: str
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(make("somebody")[1])
    flags = ("--admin-address", "127.0.0.1:0", "--tokens-file", str(tokens))
    with (
        server_process(tiny_checkpoint, *flags, engine=engine) as server,
        grpc.insecure_channel(server.address) as main,
        grpc.insecure_channel(server.admin) as admin,
    ):
        for channel in (main, admin):
            health: Any = health_pb2_grpc.HealthStub(channel)
            for name in ("", "gemwire.v1.EmbeddingService"):
                answer = health.Check(health_pb2.HealthCheckRequest(service=name))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
        names = set(ProtoReflectionDescriptorDatabase(admin).get_services())
        assert names == set(SERVICES)
        for channel, path in (
            (main, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
            (main, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
            (admin, "/gemwire.v1.ModelService/ListModels"),
        ):
            method: Any = channel.stream_stream(path)
            with pytest.raises(grpc.RpcError) as caught:
                list(method(iter([b""])))
            assert isinstance(caught.value, grpc.Call)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        health = health_pb2_grpc.HealthStub(admin)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.drain()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
