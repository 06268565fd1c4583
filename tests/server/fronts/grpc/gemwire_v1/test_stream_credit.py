"""Messages and credit: a message over the credit is taken whole, and no stream stands still."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from gemwire.v1 import embedding_pb2 as pb
from support.harness import Served, running, text
from support.held_device import HeldDevice
from support.streams import Stream

CREDIT, MOST = 256, 1024
ORDERED = pytest.mark.parametrize("ordered", [False, True], ids=["as ready", "ordered"])


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint)) as server:
        yield server


def texts(first: int, count: int) -> list[pb.EmbedInput]:
    """Every eighth is refused, which is an answer too."""
    return [text(f"text {i}" if i % 8 else "") for i in range(first, first + count)]


def send(stream: Stream, counts: Sequence[int]) -> int:
    """Sends messages of so many texts; the ids go on. Returns the number of texts."""
    first = 0
    for count in counts:
        stream.batch(first, texts(first, count))
        first += count
    return first


def check_answers(stream: Stream, count: int, *, ordered: bool) -> None:
    """Half-closes. Each text has its vector or its error once, and all of the credit comes back."""
    stream.half_close()
    found: list[int] = []
    for message in stream.call:
        assert message.results.granted_inputs == len(message.results.results)
        for result in message.results.results:
            assert result.HasField("embedding") == bool(result.id % 8)
            found.append(result.id)
    assert (found if ordered else sorted(found)) == list(range(count))


def test_the_limits_of_a_stream_are_those_of_the_model(tiny_checkpoint: Path) -> None:
    limits = {
        "max_inputs_per_request": 7,
        "max_request_bytes": 20_000,
        "max_stream_inflight_inputs": 5,
    }
    with running(str(tiny_checkpoint), **limits) as served:
        opened = Stream(served).opened
        of_model = served.model.GetModel(pb.GetModelRequest()).model.limits
        found = [opened.max_inputs_per_message, opened.max_request_bytes]
        assert [*found, opened.max_inflight_inputs] == list(limits.values())
        assert found == [of_model.max_inputs_per_request, of_model.max_request_bytes]


@ORDERED
@pytest.mark.parametrize(
    "counts",
    [
        [MOST],
        [MOST, MOST, MOST],
        [1, MOST],
        [CREDIT, MOST, 1],
        [100, 100, 100, MOST, 10, CREDIT, CREDIT + 1, 3],
        [CREDIT - 1, 2, CREDIT, 1, MOST, CREDIT - 1],
    ],
    ids=lambda counts: "+".join(map(str, counts)),
)
def test_messages_over_the_credit_are_answered(
    served: Served, counts: list[int], ordered: bool
) -> None:
    stream = Stream(served, pb.EmbedOptions(output_dimensionality=32), ordered=ordered)
    check_answers(stream, send(stream, counts), ordered=ordered)


@ORDERED
def test_a_message_over_the_credit_waits_for_the_texts_before_it(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, ordered: bool
) -> None:
    """The device stands still while all of it is sent, so that texts are unanswered before each message."""
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), max_stream_inflight_inputs=8) as served:
        stream = Stream(served, ordered=ordered)
        device.hold()
        count = send(stream, [2, 3, 20, 20, 1, 8, 20, 9, 9, 7])
        device.wait_until_running()
        device.release()
        check_answers(stream, count, ordered=ordered)
        assert (
            8 < device.largest_batch <= 20
        )  # one message that is over the credit, and nothing else


@ORDERED
@pytest.mark.parametrize("credit", [1, 2, 7])
def test_a_small_credit(tiny_checkpoint: Path, credit: int, ordered: bool) -> None:
    with running(str(tiny_checkpoint), max_stream_inflight_inputs=credit) as served:
        stream = Stream(served, ordered=ordered)
        count = send(stream, [1, 1, credit, credit + 1, 1, MOST, 1, 1, 64, 1])
        check_answers(stream, count, ordered=ordered)


@ORDERED
@pytest.mark.parametrize("credit", [1, CREDIT])
def test_a_client_that_waits_for_its_whole_credit(
    tiny_checkpoint: Path, credit: int, ordered: bool
) -> None:
    """It sends a message once it has as much credit as the message has texts, which may be all of it."""
    random = np.random.default_rng(0)
    counts = [credit, credit, *random.integers(1, credit + 1, 20).tolist(), credit]
    with running(str(tiny_checkpoint), max_stream_inflight_inputs=credit) as served:
        stream = Stream(served, pb.EmbedOptions(output_dimensionality=32), ordered=ordered)
        granted, changed = [stream.opened.max_inflight_inputs], threading.Condition()
        assert granted == [credit]

        def write() -> None:
            first = 0
            for count in counts:
                with changed:
                    changed.wait_for(lambda count=count: granted[0] >= count)  # type: ignore[misc]
                    granted[0] -= count
                stream.batch(first, texts(first, count))
                first += count
            stream.half_close()

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        found = []
        for message in stream.call:
            found += [result.id for result in message.results.results]
            with changed:
                granted[0] += message.results.granted_inputs
                changed.notify()
        writer.join()
        assert (found if ordered else sorted(found)) == list(range(sum(counts)))
        assert granted == [credit]


@ORDERED
def test_a_message_over_the_credit_and_over_the_queue(tiny_checkpoint: Path, ordered: bool) -> None:
    """The queue takes a few of its texts at a time."""
    with running(str(tiny_checkpoint), max_queue_tokens=64, max_batch_tokens=32) as served:
        stream = Stream(served, pb.EmbedOptions(output_dimensionality=32), ordered=ordered)
        check_answers(stream, send(stream, [10, CREDIT + 1, 10]), ordered=ordered)


def test_ids_go_on_at_zero(served: Served) -> None:
    stream = Stream(served)
    stream.batch(2**64 - 2, [text("a"), text("b"), text("c")])
    assert [result.id for result in stream.rest()] == [2**64 - 2, 2**64 - 1, 0]
