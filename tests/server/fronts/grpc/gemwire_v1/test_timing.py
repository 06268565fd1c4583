"""`Timing` says where the time of a call went, also for a call that waited."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gemwire.v1 import embedding_pb2 as pb
from support.harness import Served, running, text
from support.held_device import WAIT, HeldDevice

HELD_SECONDS = 0.3
OPTIONS = pb.EmbedOptions(include_timing=True)


def _seconds(timing: pb.Timing, field: str) -> float:
    return float(getattr(timing, field).ToTimedelta().total_seconds())


def _unary(served: Served) -> Callable[[], pb.Timing]:
    request = pb.EmbedRequest(input=text("waits"), options=OPTIONS)
    call = served.embedding.Embed.future(request)
    return lambda: call.result(timeout=WAIT).timing


def _batch(served: Served) -> Callable[[], pb.Timing]:
    request = pb.BatchEmbedRequest(inputs=[text("waits"), text("too")], options=OPTIONS)
    call = served.embedding.BatchEmbed.future(request)
    return lambda: call.result(timeout=WAIT).timing


def _stream(served: Served) -> Callable[[], pb.Timing]:
    def requests() -> Iterator[pb.EmbedStreamRequest]:
        yield pb.EmbedStreamRequest(open=pb.StreamOpen(options=OPTIONS))
        yield pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[text("waits"), text("too")]))

    answers = served.embedding.EmbedStream(requests())
    return lambda: next(a for a in answers if a.HasField("results")).results.timing


@pytest.mark.parametrize(("start", "texts"), [(_unary, 1), (_batch, 2), (_stream, 2)])
def test_timing_has_how_long_a_call_waited(
    tiny_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: Callable[[Served], Callable[[], pb.Timing]],
    texts: int,
) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint)) as served:
        device.hold()
        first = served.embedding.Embed.future(pb.EmbedRequest(input=text("first")))
        device.wait_until_running()
        began = time.monotonic()
        answer = start(served)
        time.sleep(HELD_SECONDS)
        device.release()
        timing = answer()
        whole = time.monotonic() - began
        first.result(timeout=WAIT)
        wait, compute, total = (_seconds(timing, field) for field in ("queue", "compute", "total"))
        assert HELD_SECONDS / 2 < wait <= total <= whole
        assert compute > 0
        assert _seconds(timing, "tokenize") + wait + compute <= total
        assert timing.batch_texts == texts
        last = device.steps[-1]
        assert timing.batch_tokens == sum(map(len, last))


def test_of_texts_in_several_steps_the_last_counts(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), max_batch_tokens=16) as served:
        inputs = [pb.EmbedInput(tokens=pb.TokenIds(ids=[2, *[9] * 10, 1], complete=True))] * 3
        request = pb.BatchEmbedRequest(inputs=inputs, options=OPTIONS)
        timing = served.embedding.BatchEmbed(request).timing
        assert [len(step) for step in device.steps[-3:]] == [1, 1, 1]
        assert (timing.batch_texts, timing.batch_tokens) == (1, 12)
        assert _seconds(timing, "queue") + _seconds(timing, "compute") <= _seconds(timing, "total")
        # It waited while the others were computed.
        assert _seconds(timing, "queue") > _seconds(timing, "compute") / 2
