"""Deadlines, cancellation, broken weights and bugs get the right status and harm no other call."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from safetensors.torch import load_file, save_file

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.checkpoints.synthetic import make_checkpoint
from gemwire_server.errors import CheckpointError
from gemwire_server.text.tokenizer import Tokenizer
from support.harness import failure, running, text, values
from support.held_device import WAIT, HeldDevice

SECRET = "a very private text"


def test_expired_calls_end_on_time_and_are_never_computed(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint)) as served:
        device.hold()
        first = served.embedding.Embed.future(pb.EmbedRequest(input=text("first")))
        device.wait_until_running()
        before = device.computed_texts
        calls = [
            served.embedding.Embed.future(pb.EmbedRequest(input=text(f"late {i}")), timeout=0.3)
            for i in range(50)
        ]
        for call in calls:
            with pytest.raises(grpc.RpcError):
                call.result(timeout=WAIT)
            assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        device.release()
        assert first.result(timeout=WAIT).embedding.dimensions
        served.embedding.Embed(pb.EmbedRequest(input=text("after")))
        assert device.computed_texts - before == 2


def test_cancelled_calls_are_never_computed(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint)) as served:
        device.hold()
        first = served.embedding.Embed.future(pb.EmbedRequest(input=text("first")))
        device.wait_until_running()
        before = device.computed_texts
        calls = [
            served.embedding.BatchEmbed.future(pb.BatchEmbedRequest(inputs=[text("x")] * 20))
            for _ in range(20)
        ]
        time.sleep(0.3)  # let them arrive; those that do not are never computed either
        for call in calls:
            call.cancel()
        after = served.embedding.Embed.future(pb.EmbedRequest(input=text("after")))
        time.sleep(0.3)  # let the cancellations arrive
        device.release()
        first.result(timeout=WAIT)
        after.result(timeout=WAIT)
        assert device.computed_texts - before == 2


def test_a_nan_in_the_weights_fails_the_texts_it_touches(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "m", geometry="tiny", seed=3)
    path = tmp_path / "m" / "model.safetensors"
    tensors = load_file(path)
    poisoned = 1500  # a token that the warm-up does not reach
    tensors["embed_tokens.weight"][poisoned] = torch.nan
    save_file(tensors, path)
    with running(str(tmp_path / "m"), max_batch_tokens=1024) as served:
        ids = [pb.EmbedInput(tokens=pb.TokenIds(ids=[2, token, 1], complete=True)) for token in
               (40, poisoned, 41)]  # fmt: skip
        results = served.embedding.BatchEmbed(pb.BatchEmbedRequest(inputs=ids)).results
        error = failure(results[1].error)
        assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "POISON_INPUT")
        for result in (results[0], results[2]):
            assert np.isfinite(values(result.embedding)).all()
        with pytest.raises(grpc.RpcError) as caught:
            served.embedding.Embed(pb.EmbedRequest(input=ids[1]))
        assert failure(caught.value).reason == "POISON_INPUT"
        served.embedding.Embed(pb.EmbedRequest(input=ids[0]))


def test_weights_that_are_broken_throughout_never_serve(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "m", geometry="tiny", seed=3)
    path = tmp_path / "m" / "model.safetensors"
    tensors = load_file(path)
    tensors["norm.weight"][0] = torch.inf
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="not finite"), running(str(tmp_path / "m")):
        pass


def test_a_bug_tells_the_wire_and_the_log_nothing_of_the_text(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running(str(tiny_checkpoint)) as served:

        def broken(self: Tokenizer, value: str, **options: object) -> None:
            raise RuntimeError(f"cannot tokenize {value} from /etc/secret")

        monkeypatch.setattr(Tokenizer, "encode", broken)
        request = pb.EmbedRequest(input=text(SECRET))
        with caplog.at_level(logging.DEBUG), pytest.raises(grpc.RpcError) as caught:
            served.embedding.Embed(request)
        error = failure(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
        raw = str(caught.value)
        assert SECRET not in raw and "secret" not in raw and "RuntimeError" not in raw
        opened = pb.EmbedStreamRequest(open=pb.StreamOpen())
        batch = pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[text(SECRET)]))
        with pytest.raises(grpc.RpcError) as caught:
            list(served.embedding.EmbedStream(iter([opened, batch])))
        assert failure(caught.value).reason == "INTERNAL"
        monkeypatch.undo()
        served.embedding.Embed(request)
    logged = [record for record in caplog.records if record.name.startswith("gemwire")]
    assert any("RuntimeError" in record.getMessage() for record in logged)
    assert SECRET not in caplog.text


def test_a_failing_step_is_an_internal_error_and_the_next_one_works(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gemwire_server.runners.cpu import CpuRunner

    with running(str(tiny_checkpoint)) as served:

        def broken(self: CpuRunner, batch: object, output: object) -> None:
            raise RuntimeError("out of memory at 0xdeadbeef")

        monkeypatch.setattr(CpuRunner, "run", broken)
        with pytest.raises(grpc.RpcError) as caught:
            served.embedding.Embed(pb.EmbedRequest(input=text("a")))
        error = failure(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "POISON_INPUT")
        assert "0xdeadbeef" not in str(caught.value)
        monkeypatch.undo()
        served.embedding.Embed(pb.EmbedRequest(input=text("a")))


def test_a_warm_up_that_fails_is_not_served(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gemwire_server.errors import EngineFailure
    from gemwire_server.runners.cpu import CpuRunner

    def broken(self: CpuRunner, batch: object, output: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(CpuRunner, "warm_up", lambda self, tokens: None)
    monkeypatch.setattr(CpuRunner, "run", broken)
    with pytest.raises(EngineFailure), running(str(tiny_checkpoint)):
        pass


def test_health_answers_at_the_limit_of_calls(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), max_concurrent_calls=2) as served:
        opened = pb.EmbedStreamRequest(open=pb.StreamOpen())
        never = threading.Event()

        def requests() -> Iterator[pb.EmbedStreamRequest]:
            yield opened
            never.wait(WAIT)

        streams = [served.embedding.EmbedStream(requests()) for _ in range(2)]
        for stream in streams:
            next(stream)
        health: Any = health_pb2_grpc.HealthStub(served.channel)
        answer = health.Check(health_pb2.HealthCheckRequest(service=""))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            served.embedding.Embed(pb.EmbedRequest(input=text("one too many")))
        error = failure(caught.value)
        assert error.reason == "TOO_MANY_CALLS" and error.retry_after
        never.set()


def test_a_long_prompt_is_refused_before_it_costs_anything(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint)) as served:
        options = pb.EmbedOptions(prompt_text="p" * 100_000)
        inputs = [pb.EmbedInput(tokens=pb.TokenIds(ids=[5]))] * 100
        with pytest.raises(grpc.RpcError) as caught:
            served.embedding.BatchEmbed(pb.BatchEmbedRequest(inputs=inputs, options=options))
        error = failure(caught.value)
        assert (error.reason, error.field) == ("PROMPT_TOO_LONG", "options.prompt_text")


def test_a_full_queue_refuses_with_the_time_to_come_back(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), max_queue_tokens=128, max_batch_tokens=128) as served:
        device.hold()
        first = served.embedding.Embed.future(pb.EmbedRequest(input=text("first")))
        device.wait_until_running()
        accepted, refused = [], []
        for i in range(40):
            call = served.embedding.Embed.future(pb.EmbedRequest(input=text(f"some text {i}")))
            accepted.append(call)
        device_held = time.monotonic() + 2
        while time.monotonic() < device_held and not any(call.done() for call in accepted):
            time.sleep(0.01)
        refused = [call for call in accepted if call.done()]
        assert refused
        for call in refused:
            error = failure(call.exception())
            assert (error.code, error.reason) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "CALLER_QUEUE_FULL",  # the whole queue is not for one
            )
            assert error.retry_after is not None and error.retry_after > 0
        device.release()
        first.result(timeout=WAIT)
        for call in accepted:
            assert (
                call in refused
                or call.exception(timeout=WAIT) is None
                or failure(call.exception()).reason == "CALLER_QUEUE_FULL"
            )
