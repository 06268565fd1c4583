"""A client of gRPC that decides itself in which frames of HTTP/2 a call travels.

h2 keeps the state of the connection and refuses what a server may not send. The frames that it makes are
divided again where it has no say.
"""

import base64
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.rpc.status_pb2 import Status
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from hyperframe.frame import ContinuationFrame, Frame, HeadersFrame

WAIT = 20.0
Pairs = dict[str, str]


@dataclass
class Response:
    """What came on a stream. `trailers` is None where the headers ended the stream: trailers-only."""

    headers: Pairs = field(default_factory=dict)
    body: bytes = b""
    trailers: Pairs | None = None
    has_ended: bool = False
    reset: int | None = None  # the code of RST_STREAM

    def messages(self) -> list[bytes]:
        found, left = [], self.body
        while left:
            flags, size = struct.unpack_from(">BI", left)
            assert flags == 0 and len(left) >= 5 + size, left[:20]
            found.append(left[5 : 5 + size])
            left = left[5 + size :]
        return found

    def end(self) -> Pairs:
        """The block of headers that has grpc-status."""
        return self.headers if self.trailers is None else self.trailers

    def details(self) -> Status:
        value = self.end()["grpc-status-details-bin"]
        return Status.FromString(base64.b64decode(value + "=" * (-len(value) % 4)))


class RawClient:
    """One connection. `settings` are those of HTTP/2 by number."""

    def __init__(self, address: str, settings: dict[int, int] | None = None) -> None:
        host, _, port = address.rpartition(":")
        self._authority = address
        self._socket = socket.create_connection((host, int(port)), timeout=WAIT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._responses: dict[int, Response] = {}
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings(settings)
        self.flush()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(
        self, method: str, *, fragment: int | None = None, priority_weight: int | None = None
    ) -> int:
        """Begins a call of EmbeddingService, and returns the stream's id.

        With `fragment` the block of headers is divided into a HEADERS frame and CONTINUATION frames of so
        many bytes each.
        """
        id = self.h2.get_next_available_stream_id()
        self._responses[id] = Response()
        self.h2.send_headers(
            id,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", f"/gemwire.v1.EmbeddingService/{method}"),
                (":authority", self._authority),
                ("te", "trailers"),
                ("content-type", "application/grpc+proto"),
                ("user-agent", "frames/1.0"),
            ],
            priority_weight=priority_weight,
        )
        made = self.h2.data_to_send()
        self._socket.sendall(made if fragment is None else b"".join(_divided(made, fragment)))
        return id

    def data(
        self,
        id: int,
        *parts: bytes,
        end: bool = False,
        padding: int | None = None,
        each: bool = False,
    ) -> None:
        """Sends each part in a DATA frame of its own, the last with END_STREAM if `end`.

        All frames are one write to the socket, or with `each` one write each. `padding` bytes are added to
        each frame.
        """
        for place, part in enumerate(parts, 1):
            is_last = end and place == len(parts)
            self.h2.send_data(id, part, end_stream=is_last, pad_length=padding)
            if each:
                self.flush()
        self.flush()

    def raw(self, content: bytes) -> None:
        """Sends bytes that h2 does not know of."""
        self._socket.sendall(content)

    def flush(self) -> None:
        self._socket.sendall(self.h2.data_to_send())

    def answer(self, id: int) -> Response:
        """Reads until the stream has ended."""
        (response,) = self.finish(id)
        return response

    def finish(self, *ids: int) -> list[Response]:
        """Reads until all these streams have ended."""
        while not all(self._responses[id].has_ended for id in ids):
            self.read()
        return [self._responses[id] for id in ids]

    def response(self, id: int) -> Response:
        """What has come of it; `read` goes on to fill it."""
        return self._responses[id]

    def read(self) -> None:
        """Reads once. Gives back the window of all data that came."""
        content = self._socket.recv(1 << 16)
        assert content, "the server closed the connection"
        for event in self.h2.receive_data(content):
            self._take(event)
        self.flush()

    def _take(self, event: Event) -> None:
        match event:
            case ResponseReceived(stream_id=id, headers=headers):
                self._responses[id].headers = _pairs(headers)
            case DataReceived(stream_id=id, data=data):
                self._responses[id].body += data
                self.h2.acknowledge_received_data(event.flow_controlled_length, id)
            case TrailersReceived(stream_id=id, headers=headers):
                self._responses[id].trailers = _pairs(headers)
            case StreamEnded(stream_id=id):
                self._responses[id].has_ended = True
            case StreamReset(stream_id=id, error_code=code):
                self._responses[id].has_ended = True
                self._responses[id].reset = int(code)
            case ConnectionTerminated():
                raise AssertionError(f"GOAWAY: {event}")


def _pairs(headers: Iterable[Any]) -> Pairs:
    return {str(name): str(value) for name, value in headers}


def frames(content: bytes) -> list[Frame]:
    """The frames that these bytes are."""
    found = []
    while content:
        frame, size = Frame.parse_frame_header(memoryview(content[:9]))
        frame.parse_body(memoryview(content[9 : 9 + size]))
        found.append(frame)
        content = content[9 + size :]
    return found


def _divided(content: bytes, fragment: int) -> list[bytes]:
    """The same frames, but HEADERS in pieces of so many bytes."""
    found: list[bytes] = []
    for frame in frames(content):
        if not isinstance(frame, HeadersFrame):
            found.append(frame.serialize())
            continue
        block = frame.data
        pieces: Sequence[bytes] = [
            block[start : start + fragment] for start in range(0, len(block), fragment)
        ]
        kept = frame.flags & {"END_STREAM"}
        divided: list[Frame] = [HeadersFrame(frame.stream_id, pieces[0], flags=sorted(kept))]
        divided += [ContinuationFrame(frame.stream_id, piece) for piece in pieces[1:]]
        divided[-1].flags.add("END_HEADERS")
        found += [one.serialize() for one in divided]
    return found
