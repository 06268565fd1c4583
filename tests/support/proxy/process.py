"""A proxy as a process: any of them, with the configuration that is shipped and other addresses."""

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from uninstalled import ROOT

DEPLOY = ROOT / "deploy"
START_SECONDS = 30.0


def replaced(config: str, old: str, new: str) -> str:
    assert config.count(old) == 1, f"{old!r} is {config.count(old)} times in the configuration"
    return config.replace(old, new)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str | Path], port: int, log: Path) -> Iterator[str]:
    """Yields the proxy's address once the proxy listens at the port."""
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=stderr, stderr=stderr)
    try:
        give_up = time.monotonic() + START_SECONDS
        while not _listens(port):
            said = log.read_text()[-2000:]
            assert process.poll() is None and time.monotonic() < give_up, said
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True
