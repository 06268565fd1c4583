"""Metrics of a server with several processes, some of which are killed."""

import json
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import grpc

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from support.harness import text
from support.scrape import Page, at_rest, get, scrape_until

WAIT = 60.0


def _children(pid: int, kind: str) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if kind.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
    ]


def _restarted(part: str, page: Page) -> bool:
    return page.total("gemwire_restarts_total", part=part) == 1


def _answers_more(than: float, page: Page) -> bool:
    return (
        page.total("gemwire_engines_serving") == 1
        and page.total("gemwire_calls_ended_total", code="OK") > than
    )


def test_counts_balance_after_an_engine_and_a_front_are_killed(tiny_checkpoint: Path) -> None:
    command = [
        *(sys.executable, "-m", "gemwire_server", "serve", "--model", str(tiny_checkpoint)),
        *("--engine", "process", "--fronts", "2", "--log-format", "json"),
        *("--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"),
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    stop = threading.Event()
    try:
        assert server.stdout is not None
        told: dict[str, str] = {}
        while "try" not in told:
            line = server.stdout.readline()
            assert line, server.communicate(timeout=WAIT)[1]
            words = line.split()
            told[words[0]] = words[-1]
        address = told["metrics"].removeprefix("http://").removesuffix("/metrics")

        def call_again_and_again() -> None:
            with grpc.insecure_channel(
                told["gemwire"], [("grpc.use_local_subchannel_pool", 1)]
            ) as channel:
                embedding = EmbeddingServiceStub(channel)
                while not stop.is_set():
                    try:
                        embedding.Embed(pb.EmbedRequest(input=text("again")), timeout=5)
                    except grpc.RpcError:
                        stop.wait(0.05)

        callers = [threading.Thread(target=call_again_and_again) for _ in range(4)]
        for caller in callers:
            caller.start()
        name = "gemwire_calls_ended_total"
        scrape_until(address, lambda page: page.total(name, code="OK") > 20)
        for part in ("engine", "front"):
            os.kill(_children(server.pid, part)[0], signal.SIGKILL)
            page = scrape_until(address, partial(_restarted, part))
            scrape_until(address, partial(_answers_more, page.total(name, code="OK") + 20))
        assert get(address, "/readyz") == "OK\n"
        stop.set()
        for caller in callers:
            caller.join()
        page = scrape_until(address, lambda page: at_rest(page) and not page.imbalance())
        assert page.total("gemwire_restarts_total", reason="died") == 2
        server.terminate()
        _, errors = server.communicate(timeout=WAIT)
        assert server.returncode == 0
        for line in errors.splitlines():
            if "gemwire" in line:  # native libraries write lines of their own
                assert {"time", "level", "logger", "message"} <= json.loads(line).keys()
    finally:
        stop.set()
        if server.poll() is None:
            server.kill()
        server.wait()
