"""A small API of the HTTP front, for tests of the front alone, and raw connections to it."""

import asyncio
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.http import server
from gemwire_server.fronts.http.bodies import read_json
from gemwire_server.fronts.http.errors import status_of
from gemwire_server.fronts.http.methods import HttpMethod
from gemwire_server.service.call import Call
from gemwire_server.service.requests import EmbedOptions, Input
from gemwire_server.service.service import Service

WAIT = 30.0


class SmallApi:
    """`/embed` embeds a list of texts, `/echo` gives a body back, `/slow` answers after `seconds`, `/zeros`
    with so many bytes, and `/bug` raises an exception that quotes the body."""

    name = "test.v1"
    methods = (
        HttpMethod("Embed", "POST", ["/embed"]),
        HttpMethod("Echo", "POST", ["/echo", "/echo/two"]),
        HttpMethod("Strict", "POST", ["/strict"], json_only=True),
        HttpMethod("Slow", "POST", ["/slow"]),
        HttpMethod("Zeros", "POST", ["/zeros"]),
        HttpMethod("Bug", "POST", ["/bug"]),
        HttpMethod("Info", "GET", ["/info"]),
    )
    document: Mapping[str, Any] = MappingProxyType({"paths": {}, "schemas": {}})

    def __init__(self, service: Service, config: ServerConfig) -> None:
        self._service = service
        self.handles = {
            "Embed": self._embed,
            "Echo": self._echo,
            "Strict": self._echo,
            "Slow": self._slow,
            "Zeros": self._zeros,
            "Bug": self._bug,
            "Info": self._info,
        }

    async def _embed(self, raw: bytes, call: Call) -> bytes:
        options = self._service.check(EmbedOptions())
        texts = [Input(text) for text in read_json(raw)]
        results, _ = await self._service.embed(texts, options, call)
        results.raise_first_error()
        return orjson.dumps(results.vectors, option=orjson.OPT_SERIALIZE_NUMPY)

    async def _echo(self, raw: bytes, call: Call) -> bytes:
        return orjson.dumps(read_json(raw))

    async def _slow(self, raw: bytes, call: Call) -> bytes:
        await asyncio.sleep(read_json(raw)["seconds"])
        return b"{}"

    async def _zeros(self, raw: bytes, call: Call) -> bytes:
        return b"0" * int(read_json(raw))

    async def _bug(self, raw: bytes, call: Call) -> bytes:
        raise RuntimeError(raw.decode())

    async def _info(self, raw: bytes, call: Call) -> bytes:
        return b"{}"

    @staticmethod
    def refusal(error: GemwireError) -> tuple[int, bytes]:
        return status_of(error), orjson.dumps({"reason": error.reason, "message": error.message})


def serve_small_api(patched: pytest.MonkeyPatch) -> None:
    """Has servers that start from now on serve `SmallApi` over HTTP and nothing else."""
    patched.setattr(server, "APIS", (SmallApi,))


@dataclass
class Reply:
    """A response; the names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RawConnection:
    """A connection on which a test sends what it likes."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._file = connected.makefile("rb")

    def send(self, data: bytes | str) -> None:
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def post(self, path: str, body: bytes = b"", **headers: str) -> None:
        """Sends a request; underscores in the names of headers are dashes."""
        fields = {"content-length": str(len(body))} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.send(f"POST {path} HTTP/1.1\r\nhost: a\r\n{lines}\r\n".encode() + body)

    def reply(self) -> Reply:
        """The next response. Raises EOFError if the connection was closed before it."""
        line = self._file.readline()
        if not line:
            raise EOFError
        status = int(line.split()[1])
        headers = {}
        while (line := self._file.readline().rstrip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if status == 100:
            return Reply(status, headers, b"")
        return Reply(status, headers, self._file.read(int(headers.get("content-length", 0))))

    def close(self) -> None:
        """The file shares the socket, which stays open as long as it."""
        self._file.close()
        self.socket.close()

    def is_closed(self) -> bool:
        """Whether the server closes the connection, without more bytes, before `WAIT` is over."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True


@contextmanager
def connected(address: str) -> Iterator[RawConnection]:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=WAIT) as made:
        connection = RawConnection(made)
        try:
            yield connection
        finally:
            connection.close()


def post(address: str, path: str, body: bytes = b"", **headers: str) -> Reply:
    """One request on a connection of its own."""
    with connected(address) as connection:
        connection.post(path, body, **headers)
        return connection.reply()


def get(address: str, path: str, verb: str = "GET", **headers: str) -> Reply:
    """As `post`, without a body."""
    with connected(address) as connection:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        connection.send(f"{verb} {path} HTTP/1.1\r\nhost: a\r\n{lines}\r\n")
        return connection.reply()
