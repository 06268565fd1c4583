"""Calls of gRPC-Web and Connect by hand, over HTTP/1.1, as their specifications write them."""

import base64
import http.client
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from google.rpc.status_pb2 import Status

WAIT = 60.0
EMBEDDING = "/gemwire.v1.EmbeddingService/"
# The bits of a frame's first byte.
COMPRESSED = 1
END_OF_CONNECT_STREAM = 2
TRAILERS_OF_GRPC_WEB = 0x80


@dataclass(frozen=True)
class Answer:
    """A response of HTTP. The names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def request(
    address: str,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Makes a connection, sends a request of HTTP/1.1 and reads the whole response."""
    connection = http.client.HTTPConnection(address, timeout=WAIT)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


def framed(message: bytes) -> bytes:
    """The message with its prefix: a byte of flags and the length."""
    return struct.pack(">BI", 0, len(message)) + message


def frames(body: bytes) -> list[tuple[int, bytes]]:
    """The frames of a body, each as its flags and its content. Raises ValueError for a part of one."""
    found = []
    while body:
        flags, size = struct.unpack_from(">BI", body)
        if len(body) < 5 + size:
            raise ValueError(f"a frame of {size} bytes has {len(body) - 5}")
        found.append((flags, body[5 : 5 + size]))
        body = body[5 + size :]
    return found


@dataclass(frozen=True)
class WebAnswer:
    """A response of gRPC-Web: its messages, and its trailers, which without a message are the headers."""

    messages: list[bytes]
    trailers: dict[str, str]

    def details(self) -> Status:
        """The google.rpc.Status of the trailers."""
        value = self.trailers["grpc-status-details-bin"]
        return Status.FromString(base64.b64decode(value + "=" * (-len(value) % 4)))


def grpc_web(
    address: str,
    method: str,
    *messages: bytes,
    is_text: bool = False,
    headers: Mapping[str, str] | None = None,
) -> WebAnswer:
    """Calls a method with these messages in one body; as base64 if `is_text`."""
    kind = f"application/grpc-web{'-text' if is_text else ''}+proto"
    body = b"".join(map(framed, messages))
    if is_text:
        body = base64.b64encode(body)
    sent = {"content-type": kind, "accept": kind, "x-grpc-web": "1"} | dict(headers or {})
    answer = request(address, "POST", EMBEDDING + method, body, sent)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == kind
    content = frames(_unquoted(answer.body) if is_text else answer.body)
    if not content:
        return WebAnswer([], answer.headers)
    *data, (flags, last) = content
    assert flags == TRAILERS_OF_GRPC_WEB and all(flag == 0 for flag, _ in data), content
    lines = last.decode("ascii").split("\r\n")
    pairs = [line.partition(":") for line in lines if line]
    trailers = {name.lower(): value.strip() for name, _, value in pairs}
    return WebAnswer([message for _, message in data], trailers)


def _unquoted(body: bytes) -> bytes:
    """The bytes of base64 that may be padded anywhere, for each part is encoded by itself."""
    groups = [body[start : start + 4] for start in range(0, len(body), 4)]
    return b"".join(base64.b64decode(group, validate=True) for group in groups)


def connect(
    address: str, method: str, message: bytes, headers: Mapping[str, str] | None = None
) -> Answer:
    """Calls a unary method by Connect, in protobuf's bytes unless `headers` say otherwise."""
    sent = {"content-type": "application/proto", "connect-protocol-version": "1"}
    return request(address, "POST", EMBEDDING + method, message, sent | dict(headers or {}))
