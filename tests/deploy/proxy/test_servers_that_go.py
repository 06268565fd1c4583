"""Servers behind a real proxy are killed or drained while every method is called. No answer is lost."""

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from support.proxy import debian
from support.proxy.envoy_process import envoy, shipped, with_defaults
from support.proxy.servers import Servers
from support.proxy.workloads import Right, working

Leave = Callable[[Servers, int], None]

leaves = pytest.mark.parametrize("leave", [Servers.kill, Servers.drain], ids=["killed", "drained"])


@leaves
@pytest.mark.parametrize("change", [str, with_defaults], ids=["as shipped", "defaults"])
def test_behind_envoy_no_call_is_lost(
    servers: Servers, right: Right, tmp_path: Path, leave: Leave, change: Callable[[str], str]
) -> None:
    with (
        envoy(tmp_path, change(shipped()), servers.addresses) as address,
        working(address, right, tmp_path) as work,
    ):
        for place in (0, 1):
            work.wait()
            leave(servers, place)
            if change is str:
                work.wait()  # for the other server; by default Envoy asks the dead one too
            servers.restart(place)
        work.wait()
        work.end()
    assert work.answers["gemwire embed"] > 100, "texts"


@leaves
@pytest.mark.parametrize(
    ("proxy", "config"),
    [(debian.nginx, debian.NGINX), (debian.haproxy, debian.HAPROXY)],
    ids=["nginx", "haproxy"],
)
def test_behind_others_no_call_is_lost(
    servers: Servers, right: Right, tmp_path: Path, leave: Leave, proxy: Any, config: Path
) -> None:
    with (
        proxy(tmp_path, config.read_text(), servers.addresses, servers.metrics) as address,
        working(address, right, tmp_path) as work,
    ):
        for place in (0, 1):
            work.wait()
            leave(servers, place)
            work.wait()
            servers.restart(place)
        work.wait()
        work.end()
    assert work.answers["gemwire embed"] > 100, "texts"


@leaves
def test_without_a_proxy_a_server_that_comes_back_is_waited_for(
    servers: Servers, right: Right, tmp_path: Path, leave: Leave
) -> None:
    with working(servers.addresses[0], right, tmp_path) as work:
        work.wait()
        leave(servers, 0)
        time.sleep(1.0)
        servers.restart(0)
        work.wait()
        work.end()
    assert work.answers["gemwire embed"] > 100, "texts"


def test_as_shipped_a_server_that_drains_is_not_noticed_by_clients_that_never_call_again(
    servers: Servers, tmp_path: Path
) -> None:
    ending = threading.Event()

    def call(address: str) -> int:
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(address, options) as channel:
            stub = EmbeddingServiceStub(channel)
            request = pb.EmbedRequest(input=pb.EmbedInput(text="x"))
            for count in itertools.count(1):
                stub.Embed(request, timeout=30.0)
                if ending.is_set():
                    return count
        raise AssertionError("unreachable")

    with (
        envoy(tmp_path, shipped(), servers.addresses) as address,
        ThreadPoolExecutor(8) as pool,
    ):
        calls = [pool.submit(call, address) for _ in range(8)]
        try:
            time.sleep(1.0)
            for place in (0, 1):
                servers.drain(place)
                time.sleep(1.0)
                servers.restart(place)
                servers.wait_for_calls(place)
        finally:
            ending.set()
        assert sum(done.result(60) for done in calls) > 100
