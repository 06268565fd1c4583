"""NGINX's and HAProxy's time limits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.under_test import UnderTest, under_test
from gemwire_client import Client, ProxyTimeout
from support.proxy import debian
from support.proxy.process import replaced

LIMITS = [
    (debian.nginx, debian.NGINX, "grpc_read_timeout 1h", "grpc_read_timeout 700ms"),
    (debian.haproxy, debian.HAPROXY, "timeout server 1h", "timeout server 700ms"),
]


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path) -> Iterator[UnderTest]:
    with under_test(tiny_checkpoint, engine="thread") as started:
        yield started


@pytest.mark.parametrize(("proxy", "config", "setting", "value"), LIMITS, ids=["nginx", "haproxy"])
def test_the_setting_is_named(
    server: UnderTest, tmp_path: Path, proxy: Any, config: Path, setting: str, value: str
) -> None:
    limited = replaced(config.read_text(), setting, value)
    ready = server.metrics_url.split(":")[2].split("/")[0]
    name = setting.rpartition(" ")[0]
    with (
        proxy(tmp_path, limited, [server.address] * 2, [ready] * 2) as address,
        Client(address) as client,
    ):
        client.model()
        with server.controls.held():
            with pytest.raises(ProxyTimeout, match=name):
                client.embed("x")
            with pytest.raises(ProxyTimeout, match=name):
                list(client.embed_iter(["x", "y"]))
