"""Fixtures of servers behind proxies."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.proxy.servers import Servers, two_servers
from support.proxy.workloads import Right


@pytest.fixture(scope="module")
def servers(tiny_checkpoint: Path) -> Iterator[Servers]:
    with two_servers(tiny_checkpoint) as started:
        yield started


@pytest.fixture(scope="module")
def right(servers: Servers) -> Right:
    return Right(servers.addresses[0])
