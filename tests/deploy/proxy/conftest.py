"""Fixtures of servers behind proxies."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from faults.under_test import UnderTest, under_test
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from support.proxy import envoy_process
from support.proxy.servers import Servers, two_servers
from support.proxy.workloads import Right


@pytest.fixture(scope="module")
def servers(tiny_checkpoint: Path) -> Iterator[Servers]:
    with two_servers(tiny_checkpoint) as started:
        yield started


@pytest.fixture(scope="module")
def right(servers: Servers) -> Right:
    return Right(servers.addresses[0])


@pytest.fixture(scope="module")
def web_server(tiny_checkpoint: Path) -> Iterator[UnderTest]:
    """One server with the fake device, for Envoy's web.yaml."""
    envoy_process.executable()
    with under_test(
        tiny_checkpoint, "--max-inputs-per-request", "8192", engine="thread"
    ) as started:
        yield started


@pytest.fixture(scope="module")
def web(web_server: UnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Envoy with deploy/envoy/web.yaml, before `web_server`."""
    folder = tmp_path_factory.mktemp("web")
    config = envoy_process.WEB.read_text()
    with envoy_process.envoy(folder, config, [web_server.address]) as address:
        yield address


@pytest.fixture(scope="module")
def stub(web_server: UnderTest) -> Iterator[EmbeddingServiceStub]:
    """Calls of `web_server` without a proxy: what the right answers are."""
    with grpc.insecure_channel(web_server.address) as channel:
        yield EmbeddingServiceStub(channel)
