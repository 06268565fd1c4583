"""Payloads through shared memory, records through a socket: nothing lost, nothing changed, nothing left."""

import os
import socket
import threading

import numpy as np
import pytest

from gemwire_server.processes.link import BODY_BYTES, RECORD, Link, LinkClosed
from support.links import linked


def body(number: int) -> bytes:
    return number.to_bytes(BODY_BYTES, "little")


def number_of(body: bytes) -> int:
    return int.from_bytes(body, "little")


def received(link: Link) -> list[tuple[bytes, bytes]]:
    return [(body, payload.tobytes()) for body, payload in link.receive()]


def test_every_byte_of_body_and_payload_arrives_in_both_directions() -> None:
    whole = os.urandom(BODY_BYTES)
    with linked() as (first, second):
        for sender, receiver in ((first, second), (second, first)):
            assert sender.send(whole, np.arange(10, dtype=np.uint8), np.ones(3, np.uint8))
            assert sender.send(b"short")
            assert received(receiver) == [
                (whole, bytes([*range(10), 1, 1, 1])),
                (b"short".ljust(BODY_BYTES, b"\0"), b""),
            ]
        assert received(first) == []


def test_a_body_that_is_too_long_is_not_cut() -> None:
    with linked() as (first, second):
        with pytest.raises(ValueError):
            first.send(bytes(BODY_BYTES + 1))
        assert received(second) == []


def test_a_full_ring_takes_nothing_until_it_has_been_read() -> None:
    part = np.full(900, 5, np.uint8)
    with linked() as (first, second):
        sent = 0
        while first.send(body(sent), part):
            sent += 1
        assert sent == 4
        assert [number_of(body) for body, _ in received(second)] == [0, 1, 2, 3]
        assert received(first) == []  # and has read how far the other is
        assert first.send(body(1), part)


def test_a_socket_that_is_full_keeps_records_whole() -> None:
    with linked() as (first, second):
        sent = 0
        while first.send(body(sent)):
            sent += 1
        assert sent > 10
        numbers = [number_of(body) for body, _ in received(second)]
        while not first.flush():
            numbers += [number_of(body) for body, _ in received(second)]
        while len(numbers) < sent:
            numbers += [number_of(body) for body, _ in received(second)]
        assert numbers == list(range(sent))


def test_a_ring_that_was_read_while_the_socket_was_full_is_free_again() -> None:
    """The reader could not report it then. It has no other occasion where the ring's writer has no room to
    send anything that would wake it."""
    part = np.full(900, 5, np.uint8)
    with linked() as (first, second):
        sent = 0
        while first.send(body(sent)):
            sent += 1
        while second.send(body(0), part):
            pass
        assert received(first)
        numbers = [number_of(body) for body, _ in received(second)]
        assert not second.send(body(0), part)
        assert first.send(body(sent))
        assert [*numbers, *(number_of(body) for body, _ in received(second))][-1] == sent
        assert second.send(body(0), part)


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
            while not first.send(body(number), payload):
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
                second.send(body(1))


def test_what_was_sent_before_the_end_still_arrives() -> None:
    with linked() as (first, second):
        first.send(body(4), np.ones(3, np.uint8))
        first.close()
        messages = second.receive()
        record, payload = next(messages)
        assert (number_of(record), payload.tolist()) == (4, [1, 1, 1])


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
