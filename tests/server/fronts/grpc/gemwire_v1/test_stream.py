"""EmbedStream over a real socket."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from support.harness import Served, failure, running, text, values
from support.held_device import HeldDevice
from support.streams import WAIT, Stream


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), dtype="float32", max_batch_tokens=64) as server:
        yield server


def vectors(results: list[pb.StreamResult]) -> dict[int, NDArray[np.float32]]:
    assert len({result.id for result in results}) == len(results), "answered twice"
    return {result.id: values(result.embedding) for result in results}


def test_results_carry_the_clients_ids_and_equal_batch(served: Served) -> None:
    random = np.random.default_rng(0)
    inputs = [text("w " * int(n)) for n in random.integers(1, 200, 50)]
    expected = served.embedding.BatchEmbed(pb.BatchEmbedRequest(inputs=inputs)).results
    stream = Stream(served)
    assert stream.opened.max_inflight_inputs == 256 and stream.opened.model_revision
    for start in range(0, 50, 7):
        stream.batch(1000 + start, inputs[start : start + 7])
    stream.batch(5000, [])
    found = vectors(stream.rest())
    assert sorted(found) == list(range(1000, 1050))
    for i, result in enumerate(expected):
        np.testing.assert_allclose(found[1000 + i], values(result.embedding), atol=2e-6)


@pytest.mark.parametrize("ordered", [False, True])
def test_order_is_kept_when_asked_for(served: Served, ordered: bool) -> None:
    stream = Stream(served, pb.EmbedOptions(output_dimensionality=32), ordered=ordered)
    long, short = text("many words " * 150), text("few")
    for i in range(40):
        stream.batch(i * 2, [long, short] if i % 2 else [short, short])
    ids = [result.id for result in stream.rest()]
    assert sorted(ids) == list(range(80))
    if ordered:
        assert ids == sorted(ids)


def test_a_bad_text_fails_alone(served: Served) -> None:
    stream = Stream(served, pb.EmbedOptions(task=pb.TASK_TYPE_RETRIEVAL_QUERY))
    stream.batch(0, [text("a"), text(""), text("b"), text("t", title="no document"), text("c")])
    stream.batch(5, [text("q" * 1_000_000), text("d")])
    results = {result.id: result for result in stream.rest()}
    reasons = {i: failure(r.error).reason for i, r in results.items() if r.HasField("error")}
    assert reasons == {1: "EMPTY_TEXT", 3: "TITLE_WITHOUT_DOCUMENT", 5: "TEXT_TOO_LONG"}
    assert failure(results[3].error).field == "batch.inputs[3].title"
    assert all(len(values(results[i].embedding)) for i in (0, 2, 4, 6))


@pytest.mark.parametrize(
    "requests,reason",
    [
        ([pb.EmbedStreamRequest(batch=pb.StreamBatch())], "STREAM_NOT_OPEN"),
        ([pb.EmbedStreamRequest()], "STREAM_NOT_OPEN"),
        ([pb.EmbedStreamRequest(open=pb.StreamOpen())] * 2, "STREAM_ALREADY_OPEN"),
        (
            [pb.EmbedStreamRequest(open=pb.StreamOpen(options=pb.EmbedOptions(prompt_name="x")))],
            "UNKNOWN_PROMPT",
        ),
        (
            [
                pb.EmbedStreamRequest(open=pb.StreamOpen()),
                pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[text("a")] * 1025)),
            ],
            "TOO_MANY_INPUTS",
        ),
    ],
)
def test_a_broken_protocol_ends_the_stream(
    served: Served, requests: list[pb.EmbedStreamRequest], reason: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(served.embedding.EmbedStream(iter(requests), timeout=WAIT))
    error = failure(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


def test_bytes_that_are_no_message_end_the_stream(served: Served) -> None:
    call: Any = served.channel.stream_stream("/gemwire.v1.EmbeddingService/EmbedStream")
    opening = pb.EmbedStreamRequest(open=pb.StreamOpen()).SerializeToString()
    for raw in ([b"\xff\xff\xff"], [opening, b"\xff\xff\xff"]):
        with pytest.raises(grpc.RpcError) as caught:
            list(call(iter(raw), timeout=WAIT))
        assert failure(caught.value).reason == "MALFORMED_MESSAGE"


def test_an_empty_stream_is_fine(served: Served) -> None:
    assert list(served.embedding.EmbedStream(iter([]), timeout=WAIT)) == []


def test_a_client_without_credit_is_held_back(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent 100 times its credit at once, the server holds no more than the credit, and answers all."""
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), max_stream_inflight_inputs=8) as served:
        stream = Stream(served)
        assert stream.opened.max_inflight_inputs == 8
        device.hold()
        for i in range(200):
            stream.batch(i * 4, [text("held back")] * 4)
        device.wait_until_running()
        device.release()
        granted, found = 0, []
        stream.half_close()
        for message in stream.call:
            found += [result.id for result in message.results.results]
            granted += message.results.granted_inputs
        assert sorted(found) == list(range(800)) and granted == 800
        assert device.largest_batch <= 8


def test_a_full_queue_slows_a_stream_down_and_loses_nothing(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), max_queue_tokens=64, max_batch_tokens=32) as served:
        stream = Stream(served)
        for i in range(10):
            stream.batch(i * 8, [text(f"text {i} {j}") for j in range(8)])
        large = text("far more tokens than the whole queue takes " * 20)
        stream.batch(100, [text("before"), large, text("after")])
        results = {result.id: result for result in stream.rest()}
        assert sorted(results) == [*range(80), 100, 101, 102]
        refused = failure(results.pop(101).error)
        assert (refused.code, refused.reason, refused.field, refused.retry_after) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "REQUEST_TOO_LARGE",
            "batch.inputs[1]",
            None,
        )
        assert all(result.HasField("embedding") for result in results.values())


def test_leaving_a_stream_cancels_its_work(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), max_batch_tokens=64) as served:
        stream = Stream(served)
        device.hold()
        stream.batch(0, [text("first to run")])
        device.wait_until_running()
        before = device.computed_texts
        stream.batch(1, [text(f"never computed {i}") for i in range(200)])
        time.sleep(0.5)  # let the server read and queue them
        stream.call.cancel()
        time.sleep(0.5)  # let the cancellation arrive
        device.release()
        served.embedding.Embed(pb.EmbedRequest(input=text("another caller")), timeout=WAIT)
        assert device.computed_texts - before == 2


def test_ordered_holds_back_what_is_ready_early(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint)) as served:
        for ordered in (False, True):
            stream = Stream(served, ordered=ordered)
            device.hold()
            stream.batch(0, [text("held on the device")])
            device.wait_until_running()
            stream.batch(1, [text("")])  # refused at once
            if not ordered:
                assert next(stream.call).results.results[0].id == 1
            time.sleep(0.2)
            device.release()
            rest = [result.id for result in stream.rest()]
            assert rest == ([0, 1] if ordered else [0])


def test_priority_and_turns_reach_the_scheduler(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a held step: a stream's backlog, then a query, then an urgent one."""
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), max_batch_tokens=4) as served:
        stream = Stream(served)
        device.hold()
        stream.batch(0, [text("occupies the device now")])
        device.wait_until_running()
        for i in range(20):  # many submissions, one flow
            stream.batch(1 + i, [text(f"bulk {i}")])
        time.sleep(0.5)
        calls = []
        for name, priority in (("query", 0), ("urgent", 5)):
            request = pb.EmbedRequest(input=text(name), options=pb.EmbedOptions(priority=priority))
            calls.append(served.embedding.Embed.future(request, timeout=WAIT))
            time.sleep(0.3)
        device.release()
        for call in calls:
            call.result()
        assert len(stream.rest()) == 21
        urgent, query, last = (
            device.step_of(served.embedding.Tokenize(pb.TokenizeRequest(input=text(value))).ids)
            for value in ("urgent", "query", "bulk 19")
        )
        assert urgent < query < last - 3


def test_empty_batches_cost_the_server_nothing(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint)) as served:
        stream = Stream(served, ordered=True)
        device.hold()
        stream.batch(0, [text("held")])
        device.wait_until_running()
        for _ in range(500):
            stream.batch(1, [])
        stream.batch(1, [text("last")])
        device.release()
        assert [result.id for result in stream.rest()] == [0, 1]


def test_a_client_that_ignores_its_credit_is_held_back_by_the_transport(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results that the client does not read must not pile up in the server."""
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint)) as served:
        for _ in range(3):  # requests as fast as the line is, which widen what grpc lets in
            served.embedding.BatchEmbed(pb.BatchEmbedRequest(inputs=[text("y" * 4_000_000)]))
        device.hold()
        sent, enough = [0], threading.Event()

        def requests() -> Iterator[pb.EmbedStreamRequest]:
            yield pb.EmbedStreamRequest(open=pb.StreamOpen())
            yield pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[text("a")] * 256))
            while not enough.is_set() and sent[0] < 16_000_000:
                sent[0] += 8000
                batch = pb.StreamBatch(first_id=1000 + sent[0], inputs=[text("b" * 8000)])
                yield pb.EmbedStreamRequest(batch=batch)

        call = served.embedding.EmbedStream(requests(), timeout=WAIT)
        next(call)
        before = -1
        while before < sent[0]:  # until it stands still
            before = sent[0]
            time.sleep(0.5)
        enough.set()
        call.cancel()
        device.release()
        assert sent[0] < 1_000_000
