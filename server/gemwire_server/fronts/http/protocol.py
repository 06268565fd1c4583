"""HTTP/1.1 on a connection: uvicorn's protocol, with limits on what a client may send and leave unread."""

import asyncio
import http
import time
from collections.abc import MutableMapping
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gemwire_server.fronts.http.bodies import Receive
from gemwire_server.fronts.http.connections import Connections
from gemwire_server.fronts.http.errors import error_body
from gemwire_server.fronts.http.replies import Scope, Send, send_in_pieces

# The most requests that wait on a connection whose client does not wait for answers.
MAX_PIPELINED = 16
# The most chunks of a body: each costs a call of Python, however small it is.
MAX_CHUNKS = 65536
# Headers that say where a body ends.
FRAMING = (b"content-length", b"transfer-encoding")
# As in gRPC, each header counts with so many bytes more.
HEADER_OVERHEAD = 32
# How long a refused client may go on sending: bytes that are unread at the close destroy the answer.
LINGER_SECONDS = 1.0


class _Refused(Exception):
    """Ends the parsing of what the client sends."""


class HttpConnection(HttpToolsProtocol):
    """Satisfies `connections.Connection`."""

    def __init__(self, connections: Connections, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._app, self.app = self.app, self._answer
        self._all = connections
        self._limits = connections.limits
        self._last_time = connections.last_time()
        self._in_headers = False
        self._in_same_message = False
        self._header_bytes = 0
        # Bytes since the last one of a body: headers, the frames of chunks, trailers.
        self._beside_bodies = 0
        self._chunks = 0
        self._refusal: tuple[int, str, str] | None = None
        self._deaf = False
        # The cycle whose answer is due first; `cycle` is that of the newest request.
        self._running: Any = None
        # The size of the body that is being sent.
        self._answer_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows the type
        if self._all.add(self):
            self._time_headers()
            return
        self._deaf = True
        self._write_error(503, "TOO_MANY_CONNECTIONS", "too many connections are open")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.discard(self)
        self._stop_header_timer()
        self._stop_send_timer()
        self._unset_keepalive_if_required()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self._beside_bodies += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(*(self._refusal or (400, "BAD_REQUEST", "the request is not HTTP/1.1")))
            return
        if self._beside_bodies > self._limits.header_bytes:
            self._refuse(*self._headers_too_large())
        elif self._in_headers or self._is_idle():
            self._time_headers()

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._stay()

    def _stay(self) -> None:
        """Ignores a client's offer to switch protocols, as HTTP allows. Java's client makes one by default.

        The parser takes what follows the headers for the other protocol. A body is read by a parser anew
        that knows the body's length and nothing else of the request.
        """
        framing = [b"%s: %s\r\n" % header for header in self.headers if header[0] in FRAMING]
        if framing:
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._in_same_message = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % b"".join(framing))
            self._in_same_message = False

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._in_same_message:
            return
        super().on_message_begin()
        self._in_headers = True
        self._header_bytes = self._beside_bodies = self._chunks = 0

    def on_url(self, url: bytes) -> None:
        if not self._in_same_message:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_headers:
            return  # a trailer
        self._header_bytes += len(name) + len(value) + HEADER_OVERHEAD
        if self._header_bytes > self._limits.header_bytes:
            self._stop(*self._headers_too_large())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._in_same_message:
            return
        self._in_headers = False
        self._beside_bodies = 0
        self._stop_header_timer()
        if len(self.url) > self._limits.header_bytes:
            self._stop(*self._headers_too_large())
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop(429, "TOO_MANY_PIPELINED", "too many requests wait on the connection")
        super().on_headers_complete()
        if not self.pipeline:
            self._running = self.cycle
        if self._all.draining or time.monotonic() >= self._last_time:
            self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > MAX_CHUNKS:
            self._stop(400, "TOO_MANY_CHUNKS", "the body has too many chunks")

    def on_body(self, body: bytes) -> None:
        self._beside_bodies = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._beside_bodies = 0
        if self.parser.should_upgrade() and any(name in FRAMING for name, _ in self.headers):
            return  # only the headers are
        super().on_message_complete()

    def _stop(self, status: int, code: str, message: str) -> None:
        self._refusal = status, code, message
        raise _Refused

    def _headers_too_large(self) -> tuple[int, str, str]:
        limit = self._limits.header_bytes
        what = f"the headers have more than {limit} bytes, the server's --max-metadata-bytes"
        return 431, "HEADERS_TOO_LARGE", what

    # What the application answers.

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_if_open(message: MutableMapping[str, Any]) -> None:
            # To write to a connection that was lost makes event loops log.
            if not self.transport.is_closing():
                await send(message)

        async def send_counted(message: MutableMapping[str, Any]) -> None:
            self._answer_bytes = len(message.get("body", b""))
            await send_in_pieces(send_if_open, message)
            self._answer_bytes = 0
            if not self.flow.write_paused and not self._running.disconnected:
                self._was_read()

        await self._app(scope, receive, send_counted)

    # What the connection itself answers.

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Ends what the client may send. The answers that are due come first and are then the last."""
        self._deaf = True
        self._stop_header_timer()
        if self.pipeline or not (self._is_idle() or self._is_reading()):
            self.cycle.keep_alive = False
            return
        if self._is_reading():
            # To the method that reads the body, the client is gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._write_error(status, code, message)
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _write_error(self, status: int, code: str, message: str) -> None:
        body = orjson.dumps(error_body(status, code, message))
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            **({"retry-after": "1"} if status in (429, 503) else {}),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        status_line = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n"
        self.transport.write(f"{status_line}{lines}\r\n".encode() + body)

    def _is_idle(self) -> bool:
        """Whether no answer is due."""
        return self.cycle is None or self.cycle.response_complete

    def _is_reading(self) -> bool:
        """Whether the body of the request is not whole, and nothing was answered."""
        return not self._is_idle() and self.cycle.more_body and not self.cycle.response_started

    # Time.

    def _time_headers(self) -> None:
        if self._header_timer is None and self._is_idle():
            seconds = self._limits.header_seconds
            self._header_timer = self.loop.call_later(seconds, self._headers_late)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_late(self) -> None:
        self._header_timer = None
        if not self._is_idle():
            return
        if self._in_headers:
            self._refuse(408, "HEADERS_TIMEOUT", "the headers of the request came too slowly")
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._running = self.pipeline[-1][0]
        super().on_response_complete()
        if self.transport.is_closing():
            self._time_sending()
        elif self._in_headers and self._is_idle():
            self._time_headers()

    def timeout_keep_alive_handler(self) -> None:
        """The client neither asks nor, if there is anything left to read, reads."""
        if self.unsent():
            self.abort()
        else:
            super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._time_sending()
        self._all.unread(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._answer_bytes:
            self._was_read()

    def _was_read(self) -> None:
        """The client has taken the answer, but for less than a transport's high-water mark."""
        self._stop_send_timer()
        if self.transport.is_closing():
            self._time_sending()  # for the little that is left
        self._all.read(self)

    def _time_sending(self) -> None:
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(self._limits.send_seconds, self.abort)

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    # What all connections ask of each.

    def unsent(self) -> int:
        return self._answer_bytes + self.transport.get_write_buffer_size()

    def abort(self) -> None:
        self.transport.abort()

    def close_after_answer(self) -> None:
        for cycle, _ in self.pipeline:
            cycle.keep_alive = False
        if self.cycle is not None:
            self.cycle.keep_alive = False
