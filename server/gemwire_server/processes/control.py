"""Between the supervisor and its children: lines of JSON over a socket that the child inherits."""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

Message = dict[str, Any]

MESSAGE_BYTES = 4 << 20  # of one line: a model's description and quarantine lists
_SET_PDEATHSIG = 1


class Channel:
    """The supervisor's side, and a front's: in an event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> "Channel":
        return cls(*await asyncio.open_connection(sock=sock, limit=MESSAGE_BYTES))

    def send(self, **message: Any) -> None:
        """To the other side, if it is still there."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def messages(self) -> AsyncIterator[Message]:
        """Until the other side is gone."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await self._reader.readline():
                yield json.loads(line)

    def close(self) -> None:
        self._writer.close()


class BlockingChannel:
    """An engine's side: in threads. `send` may be called by any."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._file = sock.makefile("rb")

    def send(self, **message: Any) -> None:
        with contextlib.suppress(OSError):  # its end ends this process too
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def messages(self) -> Iterator[Message]:
        with contextlib.suppress(OSError):
            for line in self._file:
                yield json.loads(line)


async def spawn(kind: str) -> tuple[asyncio.subprocess.Process, Channel]:
    """A child of this interpreter: `python -m gemwire_server.processes.child KIND`."""
    ours, theirs = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "gemwire_server.processes.child", kind, str(theirs.fileno())),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, await Channel.over(ours)


def inherited(descriptor: int) -> socket.socket:
    """The child's end of the socket; from here on the child does not outlive its parent."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the supervisor is gone")
    # Signals go to the supervisor, which tells its children; a terminal's go to all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return socket.socket(fileno=descriptor)
