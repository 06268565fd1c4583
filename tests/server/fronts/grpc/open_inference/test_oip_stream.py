"""ModelStreamInfer over a real socket."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from gemwire_compat import open_inference_pb2 as pb
from gemwire_server.config.options import ServerConfig
from gemwire_server.processes.single import background_application
from gemwire_server.security import tokens as tokens_module
from gemwire_server.security.tokens import make
from support.harness import Served, failure, running
from support.held_device import HeldDevice
from support.methods import WAIT
from support.open_inference import call, matrix, request, stream
from support.token_files import bearer, write


class Driven:
    """A stream that a test drives by hand."""

    def __init__(self, channel: grpc.Channel, **options: object) -> None:
        self._requests: queue.Queue[pb.ModelInferRequest | None] = queue.Queue()
        self.taken = 0
        """Requests that gRPC took to send: HTTP/2's flow control stops it."""
        self.responses = stream(channel, self._take(), **options)

    def _take(self) -> Iterator[pb.ModelInferRequest]:
        while (made := self._requests.get()) is not None:
            self.taken += 1
            yield made

    def send(self, *requests: pb.ModelInferRequest) -> None:
        for each in requests:
            self._requests.put(each)

    def half_close(self) -> None:
        self._requests.put(None)


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), dtype="float32", max_batch_tokens=64) as server:
        yield server


def test_responses_are_in_order_and_equal_model_infer(served: Served) -> None:
    random = np.random.default_rng(0)
    requests = []
    for i in range(40):
        texts = ["w " * int(n) for n in random.integers(1, 120, i % 5)]
        requests.append(request(texts, id=str(i), raw=i % 2 == 0, parameters={"dimensions": 32}))
    responses = list(stream(served.channel, iter(requests)))
    assert len(responses) == 40
    for made, response in zip(requests, responses, strict=True):
        assert response.error_message == ""
        infer = response.infer_response
        assert infer.id == made.id and infer.parameters["triton_final_response"].bool_param
        expected = matrix(call(served.channel, "ModelInfer", made))
        np.testing.assert_allclose(matrix(infer), expected, atol=2e-6)


def test_an_error_is_a_response_and_the_stream_goes_on(served: Served) -> None:
    unknown = request(["secret"], id="unknown")
    unknown.model_name = "another"
    requests = [
        request(["a"], id="first"),
        request(["a", ""], id="empty"),
        unknown,
        request(["secret"], id="shape", shape=[2]),
        request(["secret"], id="task", parameters={"task": "secret"}),
        request([""] * 100_000, id="many", raw=False),
        request(["q" * 1_000_000], id="long"),
        request(["secret"], id="i" * 10_000_000),
        request(["b"], id="last"),
    ]
    responses = list(stream(served.channel, iter(requests)))
    messages = [response.error_message for response in responses]
    assert [not message for message in messages] == [True, *[False] * 7, True]
    assert messages[1].startswith("inputs[0][1].text: ")
    assert "another" not in messages[2] and "far more" in messages[5]
    assert not any("secret" in message for message in messages)
    ids = [response.infer_response.id for response in responses]
    assert ids == ["first", "empty", "unknown", "shape", "task", "", "long", "i" * 1024, "last"]
    assert len(matrix(responses[-1].infer_response)) == 1


def test_a_broken_message_is_a_response_too(served: Served) -> None:
    stub: Any = served.channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    raw = [b"\xff\xff\xff", request(["a"]).SerializeToString()]
    broken, good = map(pb.ModelStreamInferResponse.FromString, stub(iter(raw), timeout=WAIT))
    assert "not a inference.ModelInferRequest" in broken.error_message
    assert len(matrix(good.infer_response)) == 1


def test_an_empty_stream_is_fine(served: Served) -> None:
    assert list(stream(served.channel, iter([]))) == []


@pytest.mark.parametrize("texts", [4, 0], ids=["texts", "no texts"])
def test_the_reader_stops(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, texts: int
) -> None:
    """A stream's unanswered requests are limited, those without texts too."""
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), max_stream_inflight_inputs=8) as served:
        device.hold()
        driven = Driven(served.channel)
        # What has no texts waits behind what is computed.
        driven.send(request(["first"]))
        padding = {"triton_padding": "x" * 100_000}
        held = ["held back"] * texts
        many = [request(held, id=str(i), parameters=padding) for i in range(200)]
        driven.send(*many)
        driven.half_close()
        time.sleep(0.5)
        seen = -1
        while driven.taken != seen:
            seen = driven.taken
            time.sleep(0.3)
        assert seen < 100, "the server read on"
        device.release()
        responses = list(driven.responses)
    assert len(responses) == 201
    assert not any(response.error_message for response in responses)
    assert [r.infer_response.id for r in responses[1:]] == [made.id for made in many]


def test_a_full_queue_slows_a_stream_down(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    options = {"max_queue_tokens": 2048, "max_batch_tokens": 512}
    with running(str(tiny_checkpoint), **options) as served:
        device.hold()
        driven = Driven(served.channel)
        driven.send(*(request(["many words " * 60] * 4, id=str(i)) for i in range(40)))
        driven.half_close()
        device.wait_until_running()
        device.release()
        responses = list(driven.responses)
    assert [each.infer_response.id for each in responses] == [str(i) for i in range(40)]
    assert not any(each.error_message for each in responses)


def test_a_request_of_more_than_a_step_is_computed(served: Served) -> None:
    """In parts: it has 640 tokens and more, and a step 64."""
    made = request(["ten tokens or so of a text"] * 200)
    (response,) = stream(served.channel, iter([made]))
    assert matrix(response.infer_response).shape == (200, 96)


def test_a_drain_answers_what_was_read_and_ends_the_stream(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    config = ServerConfig(model=str(tiny_checkpoint), address="127.0.0.1:0")
    with ExitStack() as channels:
        with background_application(config) as app:
            channel = channels.enter_context(grpc.insecure_channel(app.address))
            idle, busy = Driven(channel), Driven(channel)
            idle.send(request(["a"]))
            next(idle.responses)
            device.hold()
            busy.send(request(["a"], id="computed"), request([""], id="refused"))
            device.wait_until_running()
            time.sleep(1.0)  # the second request is read
            threading.Timer(0.5, device.release).start()
        # The server has drained. A channel keeps what it received.
        computed, refused = next(busy.responses), next(busy.responses)
        assert (computed.infer_response.id, computed.error_message) == ("computed", "")
        assert refused.infer_response.id == "refused" and refused.error_message
        for driven in (idle, busy):
            with pytest.raises(grpc.RpcError) as caught:
                next(driven.responses)
            error = failure(caught.value)
            assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
            assert error.retry_after is not None


def test_headers_come_before_the_first_response(served: Served) -> None:
    """Some clients send nothing before them."""
    driven = Driven(served.channel)
    headers = threading.Event()

    def receive() -> None:
        driven.responses.initial_metadata()
        headers.set()

    threading.Thread(target=receive, daemon=True).start()
    try:
        assert headers.wait(5)
    finally:
        driven.half_close()
    assert list(driven.responses) == []


def test_a_stream_ends_with_its_token(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens_module, "LOOK_SECONDS", 0.0)
    file = tmp_path / "tokens"
    token, line = make("somebody")
    _, other = make("another")
    write(file, line)
    with running(str(tiny_checkpoint), tokens_file=str(file)) as served:
        refused = Driven(served.channel)
        with pytest.raises(grpc.RpcError) as caught:
            next(refused.responses)
        assert failure(caught.value).reason == "MISSING_TOKEN"
        driven = Driven(served.channel, metadata=bearer(token))
        driven.send(request(["a"]))
        assert not next(driven.responses).error_message
        write(file, other)
        driven.send(request(["b"]))
        with pytest.raises(grpc.RpcError) as caught:
            next(driven.responses)
        error = failure(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_REVOKED")


def test_an_old_connections_stream_ends_in_order(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), max_connection_age=1.0) as served:
        driven = Driven(served.channel)
        answered = 0
        with pytest.raises(grpc.RpcError) as caught:
            while True:
                driven.send(request(["a"]))
                next(driven.responses)
                answered += 1
        assert answered and failure(caught.value).reason == "DRAINING"
        assert failure(caught.value).code == grpc.StatusCode.UNAVAILABLE
