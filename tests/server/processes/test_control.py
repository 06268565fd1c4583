"""The control channel: lines stay whole, and a line that is no message ends it."""

import asyncio
import contextlib
import json
import socket
import threading
from dataclasses import asdict

import pytest

from gemwire_server.processes.control import BlockingChannel, Channel
from gemwire_server.processes.control_messages import (
    LINE_BYTES,
    ControlMessage,
    EngineBusy,
    EngineReady,
    FrontServing,
    encode,
)

GOOD = FrontServing(True)
NO_MESSAGES = {
    "not JSON": b"{\n",
    "not UTF-8": b"\xff\n",
    "not a pair": b"3\n",
    "a pair of other values": b"[[], 5]\n",
    "an unknown type": json.dumps(["FrontHappy", {}]).encode() + b"\n",
    "a field too few": json.dumps(["FrontServing", {}]).encode() + b"\n",
    "a field too many": json.dumps(["FrontServing", {**asdict(GOOD), "since": 0}]).encode() + b"\n",
    "cut off": encode(GOOD)[:-3],
}
LONG = b"x" * (LINE_BYTES + 1) + b"\n"


async def _received(sock: socket.socket) -> list[ControlMessage]:
    channel = await Channel.over(sock)
    messages = [message async for message in channel.messages()]
    channel.close()
    return messages


def _all_of(lines: bytes, *, blocking: bool) -> list[ControlMessage]:
    """The messages of the lines, whose sender closes the channel after the last."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        with theirs, contextlib.suppress(OSError):  # the reader may have ended
            theirs.sendall(lines)

    sender = threading.Thread(target=send)
    sender.start()
    with ours:
        found = list(BlockingChannel(ours).messages()) if blocking else asyncio.run(_received(ours))
        ours.close()
    sender.join()
    return found


@pytest.mark.parametrize("blocking", [False, True], ids=["event loop", "threads"])
@pytest.mark.parametrize("line", NO_MESSAGES.values(), ids=NO_MESSAGES)
def test_a_line_that_is_no_message_ends_the_channel(line: bytes, blocking: bool) -> None:
    """It must not raise: an exception would end the keeper of the child, and no restart would follow."""
    assert _all_of(encode(GOOD) + line, blocking=blocking) == [GOOD]
    if line.endswith(b"\n"):
        assert _all_of(encode(GOOD) + line + encode(GOOD), blocking=blocking) == [GOOD]


def test_a_line_that_is_too_long_ends_the_channel() -> None:
    assert _all_of(encode(GOOD) + LONG, blocking=False) == [GOOD]


def test_lines_of_several_threads_stay_whole() -> None:
    """An engine reports its work while it describes its model, in a line that takes many writes."""
    ours, theirs = socket.socketpair()
    channel = BlockingChannel(theirs)
    ready = EngineReady({"prompts": {"long": "p" * (2 << 20)}}, 5)
    described = threading.Event()

    def report() -> None:
        number = 0
        while not described.is_set():
            channel.send(EngineBusy(float(number := number + 1)))

    def describe() -> None:
        for _ in range(3):
            channel.send(ready)
        described.set()

    threads = [threading.Thread(target=report), threading.Thread(target=describe)]

    def send() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        theirs.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    with ours:
        found = asyncio.run(_received(ours))
    sender.join()
    theirs.close()
    assert found.count(ready) == 3
    busy = [message.seconds for message in found if isinstance(message, EngineBusy)]
    assert busy == [float(number) for number in range(1, len(busy) + 1)]
    assert len(busy) + 3 == len(found)
