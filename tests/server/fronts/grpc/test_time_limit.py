"""Deadlines: the server's own for calls that set none, and work that an expired call saves."""

import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.text.tokenizer import Encoded, Tokenizer
from support.harness import failure, running, text
from support.held_device import WAIT, HeldDevice


def test_a_call_without_a_deadline_gets_the_servers(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), call_seconds=0.3) as served:
        device.hold()
        first = served.embedding.Embed.future(pb.EmbedRequest(input=text("first")), timeout=WAIT)
        device.wait_until_running()
        before = device.computed_texts
        patient = served.embedding.Embed.future(pb.EmbedRequest(input=text("b")), timeout=WAIT)
        opened = pb.EmbedStreamRequest(open=pb.StreamOpen())
        batch = pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[text("c")]))
        stream = served.embedding.EmbedStream(iter([opened, batch]))
        for call in (
            served.embedding.Embed.future(pb.EmbedRequest(input=text("d"))),
            served.embedding.BatchEmbed.future(pb.BatchEmbedRequest(inputs=[text("e")] * 3)),
        ):
            error = failure(call.exception(timeout=WAIT))
            assert (error.code.name, error.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
            assert "0.3 s" in error.message and error.retry_after is None
        assert not patient.done()  # its own is longer
        device.release()
        first.result(timeout=WAIT)
        patient.result(timeout=WAIT)
        assert sum(len(message.results.results) for message in stream) == 1  # streams have none
        assert device.computed_texts - before == 3


def test_a_call_that_has_expired_is_not_tokenized(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenized = []
    with running(str(tiny_checkpoint)) as served:
        monkeypatch.setattr(
            "gemwire_server.fronts.grpc.handlers.deadline_of",
            lambda remaining: time.monotonic() - 0.001,
        )
        monkeypatch.setattr(Tokenizer, "encode", lambda *args, **options: tokenized.append(1))
        for call in (
            served.embedding.Embed.future(pb.EmbedRequest(input=text("a"))),
            served.embedding.BatchEmbed.future(pb.BatchEmbedRequest(inputs=[text("a")] * 100)),
            served.embedding.Tokenize.future(pb.TokenizeRequest(input=text("a"))),
        ):
            error = failure(call.exception(timeout=WAIT))
            assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "before the texts were tokenized" in error.message
        back = served.embedding.Detokenize.future(pb.DetokenizeRequest(ids=[5, 6]))
        error = failure(back.exception(timeout=WAIT))
        assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert not tokenized


@pytest.mark.parametrize("whose", ["the server's", "the client's"])
def test_tokenizing_stops_between_parts(
    whose: str, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part of the 320 texts that is under way is tokenized, and no more."""
    tokenized, go_on = [], threading.Event()
    encode = Tokenizer.encode

    def slow(self: Tokenizer, value: str, **options: Any) -> Encoded:
        tokenized.append(value)
        assert go_on.wait(WAIT)
        return encode(self, value, **options)

    limit = 0.3 if whose == "the server's" else 0.0
    with running(str(tiny_checkpoint), tokenizer_threads=1, call_seconds=limit) as served:
        monkeypatch.setattr(Tokenizer, "encode", slow)
        call = served.embedding.BatchEmbed.future(
            pb.BatchEmbedRequest(inputs=[text("bulk")] * 320), timeout=None if limit else 0.3
        )
        assert isinstance(call.exception(timeout=WAIT), grpc.RpcError)
        assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        if not limit:
            time.sleep(0.3)  # the server hears of it a little later
        go_on.set()
        # Behind what is left of it, on the one thread there is.
        served.embedding.BatchEmbed(pb.BatchEmbedRequest(inputs=[text("after")] * 2), timeout=WAIT)
        assert tokenized.count("bulk") <= 32
        assert tokenized[-2:] == ["after"] * 2


def test_pieces_are_made_while_other_calls_are_answered(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()
    pieces = Tokenizer.pieces

    def slow(self: Tokenizer, ids: Any) -> list[str]:
        began.set()
        go_on.wait(WAIT)
        return pieces(self, ids)

    with running(str(tiny_checkpoint), tokenizer_threads=1) as served:
        monkeypatch.setattr(Tokenizer, "pieces", slow)
        call = served.embedding.Tokenize.future(
            pb.TokenizeRequest(input=text("long " * 100), include_pieces=True, include_spans=True)
        )
        assert began.wait(WAIT)
        served.embedding.Embed(pb.EmbedRequest(input=text("short")), timeout=WAIT / 2)
        go_on.set()
        answer = call.result(timeout=WAIT)
        assert len(answer.pieces) == len(answer.ids) == len(answer.spans)


def test_ids_become_text_in_parts_that_stop_at_the_deadline(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other calls are answered meanwhile: the work is in the tokenizer's thread."""
    read, go_on = [], threading.Event()
    text_bytes = Tokenizer.text_bytes

    def slow(self: Tokenizer, ids: Any, **options: Any) -> bytes:
        read.append(len(ids))
        assert go_on.wait(WAIT)
        return text_bytes(self, ids, **options)

    with running(str(tiny_checkpoint), tokenizer_threads=1, call_seconds=0.5) as served:
        monkeypatch.setattr(Tokenizer, "text_bytes", slow)
        call = served.embedding.Detokenize.future(pb.DetokenizeRequest(ids=[300] * 100_000))
        served.embedding.Embed(pb.EmbedRequest(input=text("short")), timeout=WAIT)
        assert failure(call.exception(timeout=WAIT)).reason == "DEADLINE_EXCEEDED"
        go_on.set()
        ids = pb.DetokenizeRequest(ids=[300] * 100)
        assert served.embedding.Detokenize(ids, timeout=WAIT).text
    assert read == [16384, 100]
