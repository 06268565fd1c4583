"""Real servers of gemwire-mini, with the certificates that they and their clients need."""

import asyncio
import contextlib
import hashlib
import re
import sys
from pathlib import Path

from support.certificates import Authority

TOKEN = "conformance-token"
START_SECONDS = 120.0
Server = dict[str, str]


class Real:
    """`servers` has the address of each, and the files that a client needs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[asyncio.subprocess.Process] = []
        self.servers: dict[str, Server] = {}

    async def start(self) -> None:
        files = self._write_files()
        secured = ["--tls-cert", files["server.pem"], "--tls-key", files["server.key"]]
        plain, tls, mtls, small = await asyncio.gather(
            self._serve("plain"),
            self._serve("tls", *secured, "--tokens-file", files["tokens"]),
            self._serve("mtls", *secured, "--tls-client-ca", files["ca.pem"]),
            self._serve("small_queue", "--max-queue-tokens", "2048"),
        )
        self.servers = {
            "plain": {"address": plain},
            "tls": {"address": tls, "ca": files["ca.pem"]},
            "mtls": {
                "address": mtls,
                "ca": files["ca.pem"],
                "cert": files["client.pem"],
                "key": files["client.key"],
            },
            "no_cert": {"address": mtls, "ca": files["ca.pem"]},
            "wrong_ca": {"address": tls, "ca": files["other_ca.pem"]},
            "untrusted": {"address": tls},
            "small_queue": {"address": small},
        }

    async def stop(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self._processes:
            await process.communicate()

    def _write_files(self) -> dict[str, str]:
        authority, other = Authority("conformance"), Authority("another")
        server, client = authority.pair(), authority.pair()
        files = {
            "ca.pem": authority.pem,
            "other_ca.pem": other.pem,
            "server.pem": server.cert,
            "server.key": server.key,
            "client.pem": client.cert,
            "client.key": client.key,
            "tokens": f"conformance:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n".encode(),
        }
        for name, content in files.items():
            (self._folder / name).write_bytes(content)
        return {name: str(self._folder / name) for name in files}

    async def _serve(self, name: str, *flags: str) -> str:
        """The address of a new server, whose log is a file in the folder."""
        serve = [sys.executable, "-m", "gemwire_server", "serve", "--address", "127.0.0.1:0"]
        log = self._folder / f"{name}.log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *serve, "--engine", "thread", *flags, stdout=asyncio.subprocess.PIPE, stderr=errors
            )
        self._processes.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            banner = (await process.stdout.readline()).decode()
        found = re.search(r"serves \S+ on (\S+)", banner)
        if found is None:
            raise RuntimeError(f"the server {name} did not start: {log.read_text()[-2000:]}")
        return found[1]
