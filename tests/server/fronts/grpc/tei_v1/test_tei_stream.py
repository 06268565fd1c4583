"""EmbedStream and EmbedAllStream of tei.v1: order, failure, limits, drain and clients that go."""

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from gemwire_compat import tei_pb2 as pb
from gemwire_server.security.tokens import make
from support.harness import Served, running
from support.held_device import HeldDevice
from support.server_process import server_process
from support.tei import Tei, code_of, until_failure, vector
from support.token_files import bearer, write

WAIT = 30.0
EMPTY = ("INVALID_ARGUMENT", "Input validation error: `inputs` cannot be empty")
OVER = (
    "INVALID_ARGUMENT",
    "Input validation error: `dimensions` should be smaller than the maximum embedding dimension.",
)
OK = ("OK", "")


class Requests:
    """What a client sends while it reads."""

    def __init__(self) -> None:
        self._queue: queue.Queue[pb.EmbedRequest | None] = queue.Queue()
        self.taken = 0

    def send(self, *texts: str, **options: Any) -> None:
        for text in texts:
            self._queue.put(pb.EmbedRequest(inputs=text, **options))

    def end(self) -> None:
        self._queue.put(None)

    def __iter__(self) -> Iterator[pb.EmbedRequest]:
        while (request := self._queue.get(timeout=WAIT)) is not None:
            self.taken += 1
            yield request


def embed(texts: list[str], **options: Any) -> Iterator[pb.EmbedRequest]:
    return iter([pb.EmbedRequest(inputs=text, **options) for text in texts])


def test_answers_come_in_the_order_of_requests_each_with_its_own_options(tei: Tei) -> None:
    random = np.random.default_rng(0)
    texts = ["word " * int(n) for n in random.integers(1, 60, 300)]
    choices: list[dict[str, Any]] = [
        {},
        {"prompt_name": "query"},
        {"dimensions": 7},
        {"prompt_name": "document", "dimensions": 96},
        {"truncate": True, "truncation_direction": pb.TRUNCATION_DIRECTION_LEFT},
    ]
    options = [choices[int(i)] for i in random.integers(0, len(choices), len(texts))]
    requests = [
        pb.EmbedRequest(inputs=text, **option) for text, option in zip(texts, options, strict=True)
    ]
    answers = list(tei.EmbedStream(iter(requests)))
    assert len(answers) == len(texts)
    for answer, request in zip(answers, requests, strict=True):
        alone = tei.Embed(request)
        np.testing.assert_array_equal(vector(answer), vector(alone))
        assert answer.metadata.compute_chars == alone.metadata.compute_chars
        assert answer.metadata.compute_tokens == alone.metadata.compute_tokens
        assert answer.metadata.total_time_ns >= answer.metadata.inference_time_ns > 0


def test_normalized_or_not(tei: Tei) -> None:
    requests = [pb.EmbedRequest(inputs="a", normalize=i % 3 == 0) for i in range(9)]
    for answer, request in zip(tei.EmbedStream(iter(requests)), requests, strict=True):
        np.testing.assert_array_equal(vector(answer), vector(tei.Embed(request)))
    assert not np.array_equal(tei.vector("a", normalize=False), tei.vector("a"))


def test_rows_of_tokens(tei: Tei) -> None:
    texts = ["a", "some words", "a " * 100] * 10
    answers = list(tei.EmbedAllStream(iter([pb.EmbedAllRequest(inputs=text) for text in texts])))
    assert len(answers) == len(texts)
    for answer, text in zip(answers, texts, strict=True):
        alone = tei.EmbedAll(pb.EmbedAllRequest(inputs=text))
        assert answer.token_embeddings == alone.token_embeddings
    bad = [pb.EmbedAllRequest(inputs="a"), pb.EmbedAllRequest(), pb.EmbedAllRequest(inputs="a")]
    got, status = until_failure(tei.EmbedAllStream(iter(bad)))
    assert (len(got), status) == (1, EMPTY)


@pytest.mark.parametrize(
    "method",
    ["EmbedStream", "EmbedAllStream", "EmbedSparseStream", "PredictStream", "TokenizeStream"],
)
def test_a_stream_without_a_request_ends_well(tei: Tei, method: str) -> None:
    call = tei.methods[method](iter([]))
    assert until_failure(call) == ([], OK)
    assert not [key for key, _ in call.initial_metadata() if key.startswith("x-c")]


def test_answers_come_while_the_client_sends(tei: Tei) -> None:
    requests = Requests()
    answers = tei.EmbedStream(iter(requests), timeout=WAIT)
    for i in range(5):
        requests.send(f"text {i}")
        np.testing.assert_array_equal(vector(next(answers)), tei.vector(f"text {i}"))
    requests.end()
    assert until_failure(answers) == ([], OK)


@pytest.mark.parametrize("method", ["EmbedStream", "EmbedAllStream"])
def test_times_begin_with_the_request_and_not_with_the_stream(tei: Tei, method: str) -> None:
    kind = {"EmbedStream": pb.EmbedRequest, "EmbedAllStream": pb.EmbedAllRequest}[method]
    pause = threading.Event()

    def requests() -> Iterator[Any]:
        yield kind(inputs="a")
        pause.wait(1.0)
        yield kind(inputs="b")

    first, second = tei.methods[method](requests(), timeout=WAIT)
    for answer in (first, second):
        cost = answer.metadata
        assert 0 < cost.tokenization_time_ns < cost.total_time_ns < 900_000_000
        assert 0 < cost.inference_time_ns < cost.total_time_ns


@pytest.mark.parametrize("good", [0, 1, 2, 200])
@pytest.mark.parametrize("bad", [{"inputs": ""}, {"inputs": "a", "dimensions": 97}])
def test_a_bad_request_ends_the_stream_after_all_answers_before_it(
    tei: Tei, good: int, bad: dict[str, Any]
) -> None:
    texts = [f"text {i}" for i in range(good)]
    requests = [*embed(texts), pb.EmbedRequest(**bad), *embed(["after"] * 10)]
    got, status = until_failure(tei.EmbedStream(iter(requests)))
    assert status == (OVER if "dimensions" in bad else EMPTY)
    assert len(got) == good
    for answer, text in zip(got, texts, strict=True):
        np.testing.assert_array_equal(vector(answer), tei.vector(text))


def test_bytes_that_are_no_message_end_the_stream_in_their_turn(served: Served) -> None:
    method: Any = served.channel.stream_stream("/tei.v1.Embed/EmbedStream")
    good = pb.EmbedRequest(inputs="a").SerializeToString()
    got, (code, message) = until_failure(method(iter([good, good, b"\xff\xff", good])))
    assert (len(got), code) == (2, "INTERNAL")
    assert message.startswith("failed to decode Protobuf message: ")


def test_no_more_is_read_than_may_be_unanswered(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a thousand texts are answered, and no more than eight are in the engine at once."""
    held = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), max_stream_inflight_inputs=8, engine="thread") as served:
        texts = [f"text {i}" for i in range(1000)]
        held.hold()
        answers = Tei(served.channel).EmbedStream(embed(texts), timeout=WAIT)
        held.wait_until_running()
        time.sleep(0.5)
        held.release()
        assert sum(1 for _ in answers) == len(texts)
        assert held.largest_batch <= 8


def test_large_requests_take_bounded_memory(tiny_checkpoint: Path) -> None:
    """A stream holds about one request of the largest size, however many texts may be unanswered."""
    with (
        server_process(tiny_checkpoint) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        tei = Tei(channel)
        large = [pb.EmbedRequest(inputs="word " * (8 * 2**20 // 5), truncate=True)]
        peak, over = 0.0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not over.wait(0.01):
                peak = max(peak, server.resident_mib())

        list(tei.EmbedStream(iter(large)))
        before = server.resident_mib()
        watcher = threading.Thread(target=watch)
        watcher.start()
        assert sum(1 for _ in tei.EmbedStream(iter(large * 40))) == 40
        over.set()
        watcher.join()
        assert peak - before < 150


def test_streams_wait_for_room_in_the_queue(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), max_queue_tokens=64) as served:
        tei = Tei(served.channel)
        counts: list[int] = []

        def stream() -> None:
            counts.append(sum(1 for _ in tei.EmbedStream(embed(["some words"] * 200))))

        threads = [threading.Thread(target=stream) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert counts == [200] * 4


def test_streams_of_rows_wait_for_room_in_the_queue(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), max_queue_tokens=16) as served:
        requests = [pb.EmbedAllRequest(inputs="some words")] * 60
        assert sum(1 for _ in Tei(served.channel).EmbedAllStream(iter(requests))) == 60


def test_streams_wait_for_their_quota(tiny_checkpoint: Path, tmp_path: Path) -> None:
    token, line = make("team", 200, 10)
    file = tmp_path / "tokens"
    write(file, line)
    with running(str(tiny_checkpoint), tokens_file=str(file)) as served:
        tei = Tei(served.channel)
        for method, kind in {
            "EmbedStream": pb.EmbedRequest,
            "EmbedAllStream": pb.EmbedAllRequest,
        }.items():
            began = time.monotonic()
            requests = [kind(inputs="some words") for _ in range(25)]
            answers = list(tei.methods[method](iter(requests), metadata=bearer(token)))
            tokens = sum(answer.metadata.compute_tokens for answer in answers)
            assert len(answers) == 25 and tokens >= 100
            assert time.monotonic() - began > (tokens - 10 - 40) / 200


def test_a_client_that_goes_costs_no_more_work(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), max_batch_tokens=16, engine="thread") as served:
        tei = Tei(served.channel)
        tei.vector("warm")
        before = held.computed_texts
        held.hold()
        answers = tei.EmbedStream(embed(["some words"] * 200))
        held.wait_until_running()
        time.sleep(0.3)
        answers.cancel()
        time.sleep(0.3)
        held.release()
        tei.vector("another caller's")
        time.sleep(0.2)
        assert held.computed_texts - before < 20


def test_what_was_read_is_answered_when_the_server_drains(tiny_checkpoint: Path) -> None:
    with server_process(tiny_checkpoint, "--drain-seconds", "30") as server:
        with grpc.insecure_channel(server.address) as channel:
            requests = Requests()
            answers = Tei(channel).EmbedStream(iter(requests), timeout=WAIT)
            requests.send(*(["word " * 500] * 20))
            next(answers)  # the server has read the first ones
            time.sleep(0.3)
            server.drain()
            got, (code, _) = until_failure(answers)
            assert (len(got), code) == (19, "UNAVAILABLE")
            assert server.process.wait(WAIT) == 0
            requests.end()


def test_a_stream_ends_well_if_its_client_half_closes_while_the_server_drains(
    tiny_checkpoint: Path,
) -> None:
    with server_process(tiny_checkpoint, "--drain-seconds", "30") as server:
        with grpc.insecure_channel(server.address) as channel:
            requests = Requests()
            answers = Tei(channel).EmbedStream(iter(requests), timeout=WAIT)
            requests.send(*(["word " * 500] * 20))
            next(answers)
            time.sleep(0.3)
            server.drain()
            requests.end()
            got, status = until_failure(answers)
            assert (len(got), status) == (19, OK)


def test_a_busy_stream_does_not_hold_a_drain_up(tiny_checkpoint: Path) -> None:
    """What comes once the server drains ends the stream, after the answers to what came before."""
    with server_process(tiny_checkpoint, "--drain-seconds", "30") as server:
        with grpc.insecure_channel(server.address) as channel:
            requests = Requests()
            answers = Tei(channel).EmbedStream(iter(requests), timeout=WAIT)

            def ping() -> None:
                while time.monotonic() < began + 10:
                    requests.send("a")
                    next(answers)

            began = time.monotonic()
            requests.send("a")
            next(answers)
            server.drain()
            with pytest.raises(grpc.RpcError) as found:
                ping()
            assert code_of(found.value)[0] == "UNAVAILABLE"
            assert server.process.wait(WAIT) == 0
            requests.end()


@pytest.mark.parametrize("method", ["EmbedStream", "TokenizeStream", "PredictStream"])
def test_an_idle_stream_does_not_hold_a_drain_up(tiny_checkpoint: Path, method: str) -> None:
    with server_process(tiny_checkpoint, "--drain-seconds", "30") as server:
        with grpc.insecure_channel(server.address) as channel:
            never = threading.Event()
            silent: Iterator[Any] = iter(lambda: never.wait(WAIT) and None, None)
            answers = Tei(channel).methods[method](silent)
            answers.initial_metadata()
            server.drain()
            assert until_failure(answers)[1][0] == "UNAVAILABLE"
            assert server.process.wait(WAIT) == 0
            never.set()


def test_a_stream_ends_before_its_connection_is_cut_for_age(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), max_connection_age=1.0) as served:
        requests = Requests()
        answers = Tei(served.channel).EmbedStream(iter(requests), timeout=WAIT)
        requests.send("a", "b")
        got, (code, _) = until_failure(answers)
        assert (len(got), code) == (2, "UNAVAILABLE")
        requests.end()
