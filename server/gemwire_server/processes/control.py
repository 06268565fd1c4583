"""The control channel: messages between the supervisor and a child, over a socket the child inherits."""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator

from gemwire_server.processes.control_messages import LINE_BYTES, ControlMessage, decode, encode

log = logging.getLogger(__name__)

# The channel ends at such a line, so that the child ends too and the supervisor restarts it.
NO_MESSAGE = "a line of the control channel is no message of this version"
_SET_PDEATHSIG = 1


class Channel:
    """The supervisor's side, and a front's: in an event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> "Channel":
        return cls(*await asyncio.open_connection(sock=sock, limit=LINE_BYTES))

    def send(self, message: ControlMessage) -> None:
        """Sends the message, unless the other side is gone."""
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    async def messages(self) -> AsyncIterator[ControlMessage]:
        """Every message, until the other side is gone or sends a line that is none."""
        while (message := await self._next()) is not None:
            yield message

    async def _next(self) -> ControlMessage | None:
        try:
            return _message(await self._reader.readline())
        except ConnectionError:
            return None
        except ValueError:  # the line is longer than LINE_BYTES
            log.error(NO_MESSAGE)
            return None

    def close(self) -> None:
        self._writer.close()


class BlockingChannel:
    """An engine's side: in threads. Any thread may call `send`."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._file = sock.makefile("rb")
        self._sending = threading.Lock()

    def send(self, message: ControlMessage) -> None:
        line = encode(message)
        # The supervisor's end ends this process too. A long line is sent in parts, and no other line may
        # come between them.
        with contextlib.suppress(OSError), self._sending:
            self._socket.sendall(line)

    def messages(self) -> Iterator[ControlMessage]:
        """Every message, until the other side is gone or sends a line that is none."""
        with contextlib.suppress(OSError):
            while (message := _message(self._file.readline())) is not None:
                yield message


def _message(line: bytes) -> ControlMessage | None:
    """None for the end of the channel, which may be within a line, and for a line that is no message."""
    if not line.endswith(b"\n"):
        return None
    try:
        return decode(line)
    except ValueError:
        log.error(NO_MESSAGE)
        return None


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
    """The child's end of the socket. From here on the child does not outlive its parent."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the supervisor is gone")
    # The supervisor takes the signals and messages its children; a terminal signals all of them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return socket.socket(fileno=descriptor)
