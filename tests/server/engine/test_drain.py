"""A server process from start to SIGTERM, under load."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from support.harness import failure, text
from support.serving import WAIT, serving

NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def test_sigterm_under_load_loses_nothing(tiny_checkpoint: Path) -> None:
    with (
        serving(tiny_checkpoint) as (process, address, _),
        grpc.insecure_channel(address) as channel,
    ):
        stub = EmbeddingServiceStub(channel)
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        statuses: list[int] = []
        watcher = threading.Thread(target=collect, args=(watch, statuses))
        watcher.start()
        stop = threading.Event()
        outcomes: list[str] = []
        streams: list[list[int]] = [[] for _ in range(3)]
        threads = [
            threading.Thread(target=call_until_refused, args=(stub, outcomes, stop))
            for _ in range(6)
        ] + [threading.Thread(target=stream_until_told, args=(stub, got)) for got in streams]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + WAIT
        while len(outcomes) < 200 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
        stop.set()
        for thread in [*threads, watcher]:
            thread.join(WAIT)
            assert not thread.is_alive()
        assert statuses == [health_pb2.HealthCheckResponse.SERVING, NOT_SERVING]
        # Accepted means answered: whatever was not is a refusal that says so.
        assert set(outcomes) <= {"ok", "refused"} and outcomes.count("ok") >= 200
        for got in streams:
            sent, answered = got
            assert sent == answered > 0
        with pytest.raises(OSError):
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=1)


def collect(watch: Iterator[health_pb2.HealthCheckResponse], statuses: list[int]) -> None:
    try:
        for response in watch:
            statuses.append(response.status)
    except grpc.RpcError:
        pass


def call_until_refused(
    stub: EmbeddingServiceStub, outcomes: list[str], stop: threading.Event
) -> None:
    while not stop.is_set():
        try:
            stub.Embed(pb.EmbedRequest(input=text("under load")), timeout=WAIT)
            outcomes.append("ok")
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                outcomes.append(f"{error.code()} {error.details()}")
                return
            outcomes.append("refused")
            return  # to another server, as its balancer would have it


def stream_until_told(stub: EmbeddingServiceStub, got: list[int]) -> None:
    """Keeps 8 texts in flight until go_away, then half-closes; counts sent and answered."""
    told = threading.Event()
    credit = threading.Semaphore(8)
    sent = answered = 0

    def requests() -> Iterator[pb.EmbedStreamRequest]:
        nonlocal sent
        yield pb.EmbedStreamRequest(open=pb.StreamOpen())
        while True:
            credit.acquire()
            if told.is_set():
                return
            batch = pb.StreamBatch(first_id=sent, inputs=[text(f"text {sent}")])
            sent += 1
            yield pb.EmbedStreamRequest(batch=batch)

    for message in stub.EmbedStream(requests(), timeout=WAIT):
        if message.HasField("go_away"):
            told.set()
            credit.release()
        for result in message.results.results:
            answered += 1
            if not result.HasField("embedding"):
                assert failure(result.error).reason == "DRAINING" and told.is_set()
            credit.release()
    got += [sent, answered]


def test_an_idle_stream_does_not_hold_the_server_up(tiny_checkpoint: Path) -> None:
    with serving(tiny_checkpoint, "--drain-seconds", "30") as (process, address, _):
        with grpc.insecure_channel(address) as channel:
            never = threading.Event()

            def requests() -> Iterator[pb.EmbedStreamRequest]:
                yield pb.EmbedStreamRequest(open=pb.StreamOpen())
                never.wait(WAIT)

            call = EmbeddingServiceStub(channel).EmbedStream(requests())
            assert next(call).HasField("opened")
            process.send_signal(signal.SIGTERM)
            assert next(call).go_away.reason
            with pytest.raises(grpc.RpcError) as caught:
                next(call)
            assert failure(caught.value).reason == "DRAINING"
            never.set()
            assert process.wait(15) == 0


def test_a_stream_that_says_nothing_does_not_hold_the_server_up(tiny_checkpoint: Path) -> None:
    with serving(tiny_checkpoint, "--drain-seconds", "30") as (process, address, _):
        with grpc.insecure_channel(address) as channel:
            never = threading.Event()
            silent = iter(lambda: never.wait(WAIT) and None, None)
            call = EmbeddingServiceStub(channel).EmbedStream(silent)  # type: ignore[arg-type]
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0
            never.set()
            call.cancel()


def test_a_taken_socket_is_not_taken_over(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from gemwire_server.config.options import ServerConfig
    from gemwire_server.processes.single import background_server

    address = f"unix:{tmp_path / 's'}"
    with background_server(ServerConfig(model=str(tiny_checkpoint), address=address)):
        with pytest.raises(OSError, match="another server"):
            with background_server(ServerConfig(model=str(tiny_checkpoint), address=address)):
                pass


def test_a_taken_address_is_one_clear_line(tiny_checkpoint: Path) -> None:
    with serving(tiny_checkpoint) as (process, address, lines):
        assert "bfloat16" in "".join(lines) or "float32" in "".join(lines)
        command = [sys.executable, "-m", "gemwire_server", "serve", "--model", str(tiny_checkpoint)]
        done = subprocess.run(
            [*command, "--address", address], capture_output=True, text=True, timeout=WAIT
        )
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("gemwire: cannot listen on") and address in last
        assert "Traceback" not in done.stderr
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(WAIT) == 0


def test_what_cannot_be_answered_in_time_is_refused_and_not_lost(tiny_checkpoint: Path) -> None:
    flags = ("--drain-seconds", "1", "--max-queue-tokens", "1000000", "--threads", "1")
    with serving(tiny_checkpoint, *flags) as (process, address, _):
        with grpc.insecure_channel(address) as channel:
            stub = EmbeddingServiceStub(channel)
            long = [text("a b c d e f g h " * 120)] * 64

            def requests() -> Iterator[pb.EmbedStreamRequest]:
                yield pb.EmbedStreamRequest(open=pb.StreamOpen())
                for first in range(0, 256, 64):
                    yield pb.EmbedStreamRequest(batch=pb.StreamBatch(first_id=first, inputs=long))

            results: list[pb.StreamResult] = []
            for message in stub.EmbedStream(requests(), timeout=WAIT):
                if not results and message.results.results:
                    process.send_signal(signal.SIGTERM)
                results += message.results.results
            assert sorted(result.id for result in results) == list(range(256))
            refused = [result for result in results if result.HasField("error")]
            assert {failure(result.error).reason for result in refused} == {"DRAINING"}
            assert process.wait(WAIT) == 0
