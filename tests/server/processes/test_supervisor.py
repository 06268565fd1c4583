"""The server as processes: what ends one of them ends no more than it must, and nothing stays behind."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from gemwire_client import Client, Unavailable
from support.calling import gemwire, one_line
from support.harness import failure, text
from support.serving import serving

WAIT = 60.0
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def children(pid: int, kind: str) -> list[int]:
    """Processes of a server that are of a kind, oldest first."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = {int(child): Path(f"/proc/{child}/cmdline").read_text().split("\0") for child in found}
    return [child for child, line in lines.items() if kind in line]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def watching(channel: grpc.Channel) -> Iterator[list[int]]:
    """What the health service says, as it says it."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    said: list[int] = []

    def collect() -> None:
        try:
            for answer in watch:
                said.append(answer.status)
        except grpc.RpcError:
            pass

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        yield said
    finally:
        watch.cancel()
        thread.join()


def test_an_engine_that_is_killed_is_restarted_and_health_says_so(tiny_checkpoint: Path) -> None:
    with (
        serving(tiny_checkpoint) as (process, address, _),
        grpc.insecure_channel(address) as channel,
        watching(channel) as said,
    ):
        stub = EmbeddingServiceStub(channel)
        before = stub.Embed(pb.EmbedRequest(input=text("a")))
        (engine,) = children(process.pid, "engine")
        os.kill(engine, signal.SIGKILL)
        eventually(lambda: said[-1] == NOT_SERVING, "health never went off")
        with pytest.raises(grpc.RpcError) as caught:
            stub.Embed(pb.EmbedRequest(input=text("a")))
        error = failure(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_RESTARTING")
        assert error.retry_after
        eventually(lambda: said[-1] == SERVING, "health never came back")
        assert said == [SERVING, NOT_SERVING, SERVING]
        assert stub.Embed(pb.EmbedRequest(input=text("a"))) == before
        (other,) = children(process.pid, "engine")
        assert other != engine and not is_running(engine)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0


def test_an_engine_that_hangs_is_restarted(tiny_checkpoint: Path) -> None:
    with (
        serving(tiny_checkpoint, "--watchdog-seconds", "1") as (process, address, _),
        grpc.insecure_channel(address) as channel,
        watching(channel) as said,
    ):
        (engine,) = children(process.pid, "engine")
        os.kill(engine, signal.SIGSTOP)
        call = EmbeddingServiceStub(channel).Embed.future(pb.EmbedRequest(input=text("a")))
        with pytest.raises(grpc.RpcError) as caught:
            call.result(WAIT)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        eventually(lambda: said == [SERVING, NOT_SERVING, SERVING], "it was not restarted")
        assert not is_running(engine)


def test_a_front_that_is_killed_leaves_the_others_alone(tiny_checkpoint: Path) -> None:
    with serving(tiny_checkpoint, "--fronts", "2") as (process, address, _):
        fronts = children(process.pid, "front")
        assert len(fronts) == 2

        def ask() -> bool:
            """Over a connection of its own; tries again, as clients do."""
            with Client(address, options=[("grpc.use_local_subchannel_pool", 1)]) as client:
                return len(client.embed("a")) > 0

        def reaches_the_other() -> bool:
            """Not while the kernel still ends the killed one, and hands it connections."""
            with contextlib.suppress(Unavailable):
                return ask()
            return False

        assert all(ask() for _ in range(8))
        os.kill(fronts[0], signal.SIGKILL)
        eventually(lambda: not is_running(fronts[0]), "it lives")
        for _ in range(8):
            eventually(reaches_the_other, "the other is not reached")
        eventually(lambda: len(children(process.pid, "front")) == 2, "it was not restarted")
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0


def test_nobody_outlives_a_supervisor_that_is_killed(tiny_checkpoint: Path) -> None:
    with serving(tiny_checkpoint, "--fronts", "2") as (process, address, _):
        all_children = [*children(process.pid, "front"), *children(process.pid, "engine")]
        assert len(all_children) == 3
        process.kill()
        process.wait(WAIT)
        eventually(lambda: not any(map(is_running, all_children)), "somebody lives on")
        with serving(tiny_checkpoint, "--address", address) as (_, again, _):
            assert again == address


def test_a_signal_while_it_loads_ends_all(tiny_checkpoint: Path) -> None:
    command = [sys.executable, "-m", "gemwire_server", "serve", "--model", str(tiny_checkpoint)]
    process = subprocess.Popen([*command, "--address", "127.0.0.1:0"], stdout=subprocess.DEVNULL)
    eventually(lambda: bool(children(process.pid, "engine")), "no engine was started")
    engines = children(process.pid, "engine")
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT) == 0
    eventually(lambda: not any(map(is_running, engines)), "it lives on")


def test_a_second_signal_ends_at_once(tiny_checkpoint: Path) -> None:
    with (
        serving(tiny_checkpoint, "--drain-seconds", "600") as (process, address, _),
        grpc.insecure_channel(address) as channel,
    ):
        (engine,) = children(process.pid, "engine")
        os.kill(engine, signal.SIGSTOP)  # what is asked now is not answered
        call = EmbeddingServiceStub(channel).Embed.future(pb.EmbedRequest(input=text("a")))
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 1
        eventually(lambda: not is_running(engine), "the engine lives on")
        assert call.exception(WAIT)


def test_a_model_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    done = gemwire("serve", "--model", str(tmp_path), "--address", "127.0.0.1:0")
    assert done.returncode == 1 and done.stdout == ""
    assert "modules.json" in one_line(done.stderr)


def test_what_a_killed_supervisor_left_is_removed_by_the_next(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    flags = ("--metrics-address", "127.0.0.1:0")
    with serving(tiny_checkpoint, *flags) as (process, _, _):
        (left,) = tmp_path.glob("gemwire-metrics-*")
        process.kill()
        process.wait(WAIT)
    with serving(tiny_checkpoint, *flags) as (process, _, _):
        assert not left.exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
    assert not list(tmp_path.glob("gemwire-*"))
