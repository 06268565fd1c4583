"""The open connections of the HTTP front together, and their limits."""

import random
import resource
import time
from dataclasses import dataclass
from typing import Protocol, Self

from gemwire_server.config.options import ServerConfig

# In HTTP/1.1 a request under way has a connection to itself: as many connections as calls may be open can
# be at work, and as many more can be idle in the pools of clients.
CONNECTIONS_PER_CALL = 2
# From the first byte of a request, or from the connection's beginning, to the end of its headers.
HEADER_SECONDS = 10.0
# A body must be here in that time, and an answer must be taken in that time.
BODY_SECONDS = 60.0
SEND_SECONDS = 60.0
# Answers, of the largest size that clients of gRPC take, that may wait for clients which do not read.
UNREAD_ANSWERS = 64
# Connections that began together do not all end together.
AGE_JITTER = 0.1


class Connection(Protocol):
    """What a connection is asked for by all of them."""

    def unsent(self) -> int:
        """Bytes of answers that the client has not taken yet."""

    def abort(self) -> None:
        """Closes the connection at once."""

    def close_after_answer(self) -> None:
        """Takes no more requests on it: it is closed once it has no answer to give."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Most connections, bytes of headers and bytes of unread answers; times in seconds."""

    connections: int
    header_bytes: int
    unread_bytes: int
    age: float
    """0: no limit."""
    header_seconds: float = HEADER_SECONDS
    send_seconds: float = SEND_SECONDS

    @classmethod
    def of(cls, config: ServerConfig) -> Self:
        """Half of the descriptors that the process may have are left to gRPC, engines and files."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = CONNECTIONS_PER_CALL * config.max_concurrent_calls
        if descriptors != resource.RLIM_INFINITY:
            most = min(most, max(1, descriptors // 2))
        return cls(
            connections=most,
            header_bytes=config.max_metadata_bytes,
            unread_bytes=UNREAD_ANSWERS * config.max_response_bytes,
            age=config.max_connection_age,
            header_seconds=HEADER_SECONDS,
            send_seconds=SEND_SECONDS,
        )


class Connections:
    """Counts connections and the answers that clients do not read. For one event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.draining = False
        self._open: set[Connection] = set()
        # In the order in which they began not to read.
        self._unread: dict[Connection, None] = {}

    def add(self, connection: Connection) -> bool:
        """Whether there is room for the connection."""
        if len(self._open) >= self.limits.connections:
            return False
        self._open.add(connection)
        return True

    def discard(self, connection: Connection) -> None:
        """The connection has ended."""
        self._open.discard(connection)
        self._unread.pop(connection, None)

    def last_time(self) -> float:
        """When a connection that begins now takes its last request, on the scale of `time.monotonic`."""
        if not self.limits.age:
            return float("inf")
        jitter = random.uniform(1 - AGE_JITTER, 1 + AGE_JITTER)
        return time.monotonic() + self.limits.age * jitter

    def unread(self, connection: Connection) -> None:
        """The client does not read. Where answers that are not read hold too much memory together, the
        connection that has waited longest is closed."""
        self._unread[connection] = None
        while sum(each.unsent() for each in self._unread) > self.limits.unread_bytes:
            oldest = next(iter(self._unread))
            del self._unread[oldest]
            oldest.abort()

    def read(self, connection: Connection) -> None:
        """The client has read."""
        self._unread.pop(connection, None)

    def drain(self) -> None:
        """Each connection is closed after the answer that is due, or after the next one."""
        self.draining = True
        for connection in self._open:
            connection.close_after_answer()

    def abort(self) -> None:
        """Closes every connection at once."""
        for connection in list(self._open):
            connection.abort()
