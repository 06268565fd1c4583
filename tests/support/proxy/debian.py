"""NGINX and HAProxy, where the machine has them (Debian: nginx-light, haproxy)."""

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from support.proxy.process import DEPLOY, free_port, replaced, running

NGINX = DEPLOY / "nginx" / "gemwire.conf"
HAPROXY = DEPLOY / "haproxy" / "haproxy.cfg"


def executable(name: str) -> str:
    """The program's path. Skips the test where it is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def nginx(
    folder: Path, config: str, servers: Sequence[str], metrics: Sequence[str]
) -> AbstractContextManager[str]:
    """Yields the address of a proxy before two servers."""
    port = free_port()
    config = replaced(config, "listen 8080 http2;", f"listen 127.0.0.1:{port} http2;")
    for place, server in enumerate(servers, 1):
        config = replaced(config, f"gemwire-{place}:50051", server)
    whole = folder / "nginx.conf"
    whole.write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{\naccess_log off;\n{config}\n}}\n"
    )
    return running([executable("nginx"), "-c", whole], port, folder / "nginx.log")


def haproxy(
    folder: Path, config: str, servers: Sequence[str], metrics: Sequence[str]
) -> AbstractContextManager[str]:
    """Yields the address of a proxy before two servers; `metrics` are their ports of /readyz."""
    port = free_port()
    config = replaced(config, "bind :8080", f"bind 127.0.0.1:{port}")
    for place, (server, ready) in enumerate(zip(servers, metrics, strict=True), 1):
        config = replaced(config, f"gemwire-{place}:50051", server)
        config = replaced(config, f"gemwire-{place} {server} check check-proto h1 port 9090",
                          f"gemwire-{place} {server} check check-proto h1 port {ready}")  # fmt: skip
    whole = folder / "haproxy.cfg"
    whole.write_text(config)
    return running([executable("haproxy"), "-db", "-f", whole], port, folder / "haproxy.log")
