"""Streams that wait for room in the queue are woken in order, and only when there may be room."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.engine.admission import QueueState
from gemwire_server.engine.packing import TokenIds
from gemwire_server.engine.scheduler import Owner, Scheduler
from gemwire_server.errors import Overloaded
from gemwire_server.service.queue_space import QueueSpace
from support.harness import running, text
from support.held_device import WAIT, HeldDevice


def test_as_many_are_woken_as_there_is_room_for_and_in_order() -> None:
    async def scenario() -> None:
        room, woken = QueueSpace(), list[int]()

        async def wait(number: int) -> None:
            await room.wait(10, WAIT)
            woken.append(number)

        tasks = [asyncio.create_task(wait(number)) for number in range(6)]
        await asyncio.sleep(0)
        for freed, expected in ((0, []), (10, [0]), (11, [0, 1, 2]), (25, [0, 1, 2, 3, 4, 5])):
            room.freed(freed)
            for _ in range(5):
                await asyncio.sleep(0)
            assert woken == expected
        await asyncio.gather(*tasks)
        room.freed(1000)  # no stream waits

    asyncio.run(scenario())


def test_a_wait_ends_in_time_and_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        room = QueueSpace()
        await room.wait(10, 0.01)
        gone = asyncio.create_task(room.wait(10, WAIT))
        stays = asyncio.create_task(room.wait(10, WAIT))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        room.freed(1)
        await asyncio.wait_for(stays, WAIT)
        assert not room._waiting

    asyncio.run(scenario())


@pytest.mark.parametrize("leaves", ["computed", "cancelled"])
def test_a_stream_goes_on_as_soon_as_something_leaves_the_queue(
    leaves: str, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delay that the queue advises is minutes."""
    refused, accepted = list[bool](), list[bool]()
    add = Scheduler.add

    def watched(self: Scheduler, owner: Owner, sequences: Sequence[TokenIds]) -> None:
        try:
            add(self, owner, sequences)
        except Overloaded:
            refused.append(owner.bulk)
            raise
        accepted.append(owner.bulk)

    monkeypatch.setattr(Scheduler, "add", watched)
    monkeypatch.setattr(QueueState, "drain_seconds", lambda self: 1000.0)
    monkeypatch.setattr("gemwire_server.service.stream_flow.LONGEST_WAIT_SECONDS", 1000.0)
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), max_queue_tokens=64, max_batch_tokens=64) as served:
        device.hold()
        first = served.embedding.Embed.future(pb.EmbedRequest(input=text("first")))
        device.wait_until_running()
        fills = served.embedding.Embed.future(pb.EmbedRequest(input=text("word " * 20)))
        wait_until(lambda: len(accepted) == 3)  # with the warm-up
        requests = [pb.EmbedStreamRequest(open=pb.StreamOpen())]
        for i in range(8):  # of these there is room for one at a time
            inputs = [text("word " * 5)] * 2
            batch = pb.StreamBatch(first_id=10 * i, inputs=inputs)
            requests.append(pb.EmbedStreamRequest(batch=batch))
        stream = served.embedding.EmbedStream(iter(requests), timeout=WAIT)
        next(stream)
        wait_until(lambda: refused.count(True) == 8)
        if leaves == "cancelled":
            fills.cancel()
            wait_until(lambda: True in accepted)  # and the device is held all the while
        device.release()
        first.result(timeout=WAIT)
        answers = [result for message in stream for result in message.results.results]
        assert len(answers) == 16 and all(result.HasField("embedding") for result in answers)
    assert len(refused) <= 8 * 8  # each looks when something has left, and not in between


def wait_until(reached: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT
    while not reached():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.001)
