"""Payloads through shared memory, records through a socket: nothing lost, nothing changed, nothing left."""

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from gemwire_server.processes.link import RECORD, Link, LinkClosed, Record


@contextmanager
def linked(out_bytes: int = 4096, in_bytes: int = 4096) -> Iterator[tuple[Link, Link]]:
    """Both ends; the sizes are the first's."""
    path = f"\0gemwire-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        first = Link.connect(path, out_bytes=out_bytes, in_bytes=in_bytes)
        second = Link.accept(listener.accept()[0])
        try:
            yield first, second
        finally:
            first.close()
            second.close()


def received(link: Link) -> list[tuple[Record, bytes]]:
    return [(record, payload.tobytes()) for record, payload in link.receive()]


def test_every_field_and_the_payload_arrive_in_both_directions() -> None:
    record = Record(
        kind=7,
        priority=-10,
        flags=3,
        count=2**31,
        extra=5,
        id=2**63,
        x=1.5,
        y=-2.0,
        a=9,
        b=2**64 - 1,
    )
    with linked() as (first, second):
        for sender, receiver in ((first, second), (second, first)):
            assert sender.send(record, np.arange(10, dtype=np.uint8), np.ones(3, np.uint8))
            assert sender.send(Record(kind=1))
            assert received(receiver) == [
                (record, bytes([*range(10), 1, 1, 1])),
                (Record(kind=1), b""),
            ]
        assert received(first) == []


def test_a_full_ring_takes_nothing_until_it_has_been_read() -> None:
    part = np.full(900, 5, np.uint8)
    with linked() as (first, second):
        sent = 0
        while first.send(Record(kind=1, id=sent), part):
            sent += 1
        assert sent == 4
        assert [record.id for record, _ in received(second)] == [0, 1, 2, 3]
        assert received(first) == []  # and has read how far the other is
        assert first.send(Record(kind=1), part)


def test_a_socket_that_is_full_keeps_records_whole() -> None:
    with linked() as (first, second):
        sent = 0
        while first.send(Record(kind=1, id=sent)):
            sent += 1
        assert sent > 10
        numbers = [record.id for record, _ in received(second)]
        while not first.flush():
            numbers += [record.id for record, _ in received(second)]
        while len(numbers) < sent:
            numbers += [record.id for record, _ in received(second)]
        assert numbers == list(range(sent))


def test_random_payloads_over_many_turns_of_the_ring() -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    payloads = [
        random.integers(0, 256, random.integers(0, 1024), dtype=np.uint8) for _ in range(5000)
    ]
    got: list[bytes] = []
    with linked() as (first, second):

        def read() -> None:
            while len(got) < len(payloads):
                got.extend(payload for _, payload in received(second))

        reader = threading.Thread(target=read)
        reader.start()
        for number, payload in enumerate(payloads):
            while not first.send(Record(kind=1, id=number), payload):
                assert not received(first)
        while reader.is_alive():
            first.flush()
            reader.join(0.001)
    assert got == [payload.tobytes() for payload in payloads]


def test_the_end_of_either_side_is_seen_by_the_other() -> None:
    with linked() as (first, second):
        first.close()
        with pytest.raises(LinkClosed):
            received(second)
        with pytest.raises(LinkClosed):
            for _ in range(2 * RECORD.size):
                second.send(Record(kind=1))


def test_what_was_sent_before_the_end_still_arrives() -> None:
    with linked() as (first, second):
        first.send(Record(kind=1, id=4), np.ones(3, np.uint8))
        first.close()
        messages = second.receive()
        record, payload = next(messages)
        assert (record.id, payload.tolist()) == (4, [1, 1, 1])


def test_its_memory_has_no_name_and_goes_with_it() -> None:
    def maps() -> int:
        with open("/proc/self/maps") as file:
            return sum("/memfd:gemwire-link" in line for line in file)

    before = maps()
    with linked() as (first, second):
        assert maps() == before + 2
        del first, second
    assert maps() == before


def test_a_stranger_that_sends_no_memory_is_refused() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x" * 16)
        with pytest.raises(LinkClosed):
            Link.accept(ours)
