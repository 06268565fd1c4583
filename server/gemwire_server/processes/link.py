"""A link between a front and an engine: payloads in shared memory, records of one size on a unix socket.

Each side writes payloads into a ring of its own, and sends a record that says where the payload lies. The
record is the doorbell too, and the kernel orders it after the payload. The reader copies the payload out,
and reports from time to time how far it has read. Beside the rings lies a board, on which the engine shows
figures without a message. The memory has no name (memfd), so the kernel frees it when both processes have
ended, however they ended.
"""

import mmap
import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gemwire_server.processes.board import BOARD_BYTES, Board

Bytes = NDArray[np.uint8]

BODY_BYTES = 48
FREED, MESSAGE = 0, 1
# Kind; the payload's size and its end in the ring, or for FREED how far the sender has read; body.
RECORD = struct.Struct(f"<B3xIQ{BODY_BYTES}s")
READ_BYTES = 64 * RECORD.size
_NOTHING: Bytes = np.zeros(0, np.uint8)
_SIZES = struct.Struct("<QQ")  # bytes of each ring


class LinkClosed(Exception):
    """The other side has closed the link, or its process has ended."""


class _Ring:
    """Payloads one after the other in shared memory; `end` and `freed` count bytes since the start."""

    def __init__(self, memory: Bytes) -> None:
        self._memory = memory
        self._end = 0
        self.freed = 0

    def write(self, parts: Sequence[Bytes]) -> int | None:
        """Writes the parts in one piece and returns its end, or None where there is no room."""
        size, capacity = sum(len(part) for part in parts), len(self._memory)
        start = self._end
        if start % capacity + size > capacity:
            start += capacity - start % capacity
        if start + size - self.freed > capacity:
            return None
        at = start % capacity
        for part in parts:
            self._memory[at : at + len(part)] = part
            at += len(part)
        self._end = start + size
        return self._end


class Link:
    """One side of a link. Any thread may send; one at a time receives."""

    def __init__(self, sock: socket.socket, out: Bytes, incoming: Bytes, board: Bytes) -> None:
        sock.setblocking(False)
        self.board = Board(board)
        self._socket = sock
        self._sending = threading.Lock()
        self._ring = _Ring(out)
        self._incoming = incoming
        self._closed = False
        self._unsent = b""  # the rest of a record that the socket took in part
        self._partial = b""  # the begin of a record whose rest has not arrived
        self._read = self._reported = 0

    @classmethod
    def connect(cls, path: str, *, out_bytes: int, in_bytes: int) -> "Link":
        """Connects to the engine that listens at `path`, with rings of these sizes. Raises OSError."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
            memory = os.memfd_create("gemwire-link", os.MFD_CLOEXEC)
            try:
                total = BOARD_BYTES + out_bytes + in_bytes
                os.ftruncate(memory, total)
                socket.send_fds(sock, [_SIZES.pack(out_bytes, in_bytes)], [memory])
                board, out, incoming = _split(_map(memory, total), out_bytes)
            finally:
                os.close(memory)
        except BaseException:
            sock.close()
            raise
        return cls(sock, out, incoming, board)

    @classmethod
    def accept(cls, sock: socket.socket) -> "Link":
        """The other end of `connect`. Raises OSError or LinkClosed."""
        sock.settimeout(1.0)
        message, descriptors, _, _ = socket.recv_fds(sock, _SIZES.size, 1)
        try:
            if len(message) != _SIZES.size or len(descriptors) != 1:
                raise LinkClosed
            their_out, their_in = _SIZES.unpack(message)
            mapped = _map(descriptors[0], BOARD_BYTES + their_out + their_in)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        board, incoming, out = _split(mapped, their_out)
        return cls(sock, out, incoming, board)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """Releases the memory too, even while other code holds the link. Figures shown on the board from
        then on reach no process."""
        with self._sending:
            self._closed = True
            self._socket.close()
            self._ring = _Ring(_NOTHING)
            self._incoming = _NOTHING
            self.board = Board(np.zeros(BOARD_BYTES, np.uint8))

    def send(self, body: bytes, *payload: Bytes) -> bool:
        """Sends a record with `body`, at most BODY_BYTES, and the parts of a payload, end to end.

        Returns False where there is no room, in the ring or on the socket. A payload is at most a quarter
        of the ring. Raises LinkClosed.
        """
        if len(body) > BODY_BYTES:
            raise ValueError(f"a record's body of {len(body)} bytes")
        with self._sending:
            if self._closed:
                raise LinkClosed
            if not self._flush():
                return False
            end, size = 0, 0
            if payload:
                size = sum(len(part) for part in payload)
                written = self._ring.write(payload)
                if written is None:
                    return False
                end = written
            self._unsent = RECORD.pack(MESSAGE, size, end, body)
            self._send_rest()  # the next call sends what the socket does not take now
            return True

    def flush(self) -> bool:
        """Sends the rest of a record that was sent in part, and how much was read if that is due; False if
        some is left. Raises LinkClosed."""
        with self._sending:
            return self._flush()

    def _flush(self) -> bool:
        if not self._send_rest():
            return False
        # Once a quarter of the ring is read: often enough, as no payload is over a quarter. It may be due
        # for long, as the socket may have been full when that was read.
        if self._read - self._reported >= max(1, len(self._incoming) // 4):
            self._reported = self._read
            self._unsent = RECORD.pack(FREED, 0, self._reported, b"")
        return self._send_rest()

    def _send_rest(self) -> bool:
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return False
            except OSError as error:
                raise LinkClosed from error
            self._unsent = self._unsent[sent:]
        return True

    def receive(self) -> Iterator[tuple[bytes, Bytes]]:
        """The bodies, padded to BODY_BYTES, and payloads, copied, that have arrived. Raises LinkClosed at
        the other side's end."""
        while True:
            try:
                raw = self._socket.recv(READ_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                raise LinkClosed from error
            if not raw:
                raise LinkClosed
            raw = self._partial + raw
            whole = len(raw) - len(raw) % RECORD.size
            self._partial = raw[whole:]
            for at in range(0, whole, RECORD.size):
                kind, size, end, body = RECORD.unpack_from(raw, at)
                if kind == FREED:
                    self._ring.freed = end
                else:
                    yield body, self._copy(size, end)
            if len(raw) < READ_BYTES:
                break
        self.flush()

    def _copy(self, size: int, end: int) -> Bytes:
        incoming = self._incoming
        if not size:
            return incoming[:0]
        if not len(incoming):
            raise LinkClosed  # another thread closed it
        at = (end - size) % len(incoming)
        payload = incoming[at : at + size].copy()
        self._read = end
        return payload


def _map(memory: int, size: int) -> Bytes:
    return np.frombuffer(mmap.mmap(memory, size), dtype=np.uint8)


def _split(memory: Bytes, first: int) -> tuple[Bytes, Bytes, Bytes]:
    """The board, the ring of the side that connected, and the ring of the other side."""
    rings = memory[BOARD_BYTES:]
    return memory[:BOARD_BYTES], rings[:first], rings[first:]
