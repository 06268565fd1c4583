"""Bearer tokens and quotas: every method asks, the file may change meanwhile, shares are by name."""

import asyncio
import hashlib
import itertools
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client import AccessDenied, Client, Overloaded
from gemwire_server.config.sources import ConfigError
from gemwire_server.errors import QuotaExceeded, Unauthenticated
from gemwire_server.security import tokens as tokens_module
from gemwire_server.security.quota import Bucket
from gemwire_server.security.tokens import MAX_TOKENS, Tokens, make
from gemwire_server.service.call import Call, Caller
from gemwire_server.service.embedder import Embedder
from support.certificates import replace
from support.harness import Failure, Served, failure, running, text

Metadata = tuple[tuple[str, str | bytes], ...]
WAIT = 30.0
METHODS = [
    f"/{service.full_name}/{method.name}"
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


def bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tokens file that is looked at for each call."""
    monkeypatch.setattr(tokens_module, "LOOK_SECONDS", 0.0)
    return tmp_path / "tokens"


def write(file: Path, *lines: str) -> None:
    replace(file, "".join(f"{line}\n" for line in lines).encode())


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ((), "MISSING_TOKEN"),
        ((("authorization", "Basic Zm9v"),), "MISSING_TOKEN"),
        (bearer("gemwire_wrong"), "WRONG_TOKEN"),
        (bearer(""), "WRONG_TOKEN"),
    ],
    ids=["none", "basic", "wrong", "empty"],
)
def test_every_method_asks_for_a_token_before_it_reads(
    tiny_checkpoint: Path, file: Path, given: Metadata, reason: str
) -> None:
    token, line = make("somebody")
    write(file, line)
    with running(str(tiny_checkpoint), tokens_file=str(file)) as served:
        assert len(METHODS) == 7
        for method in METHODS:
            never = threading.Event()

            def nothing_yet(never: threading.Event = never) -> Iterator[bytes]:
                never.wait(WAIT)
                yield b""

            # As a stream, so that the answer comes although nothing was sent.
            stream: Any = served.channel.stream_stream(method)
            call = stream(nothing_yet(), metadata=given, timeout=WAIT)
            with pytest.raises(grpc.RpcError) as caught:
                next(call)
            never.set()
            error = failure(caught.value)
            assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason), method
            assert token not in error.message
        served.embedding.Embed(pb.EmbedRequest(input=text("a")), metadata=bearer(token))
        lower: Metadata = (("authorization", f"bearer {token}"),)
        unknown: Any = served.channel.unary_unary("/gemwire.v1.EmbeddingService/Nothing")
        assert list(served.embedding.EmbedStream(stream_of(["a"]), metadata=lower))[1].results
        with pytest.raises(grpc.RpcError) as caught:
            unknown(b"")
        assert isinstance(caught.value, grpc.Call)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def stream_of(texts: list[str]) -> Iterator[pb.EmbedStreamRequest]:
    yield pb.EmbedStreamRequest(open=pb.StreamOpen())
    yield pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[text(t) for t in texts]))


def test_health_and_reflection_need_no_token(tiny_checkpoint: Path, file: Path) -> None:
    write(file, make("somebody")[1])
    with running(str(tiny_checkpoint), tokens_file=str(file)) as served:
        health: Any = health_pb2_grpc.HealthStub(served.channel)
        answer = health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        names = ProtoReflectionDescriptorDatabase(served.channel).get_services()
        assert "gemwire.v1.EmbeddingService" in names


def test_the_file_changes_under_load_and_no_call_fails(tiny_checkpoint: Path, file: Path) -> None:
    ours, our_line = make("ours")
    write(file, our_line)
    with running(str(tiny_checkpoint), tokens_file=str(file)) as served:
        stop = threading.Event()
        outcomes: list[object] = []

        def call() -> None:
            with Client(served.address, token=ours) as client:
                while not stop.is_set():
                    try:
                        client.embed("a text")
                        outcomes.append("OK")
                    except Exception as error:
                        outcomes.append(error)

        def stream() -> None:
            with Client(served.address, token=ours) as client:
                endless = itertools.takewhile(lambda _: not stop.is_set(), itertools.repeat("a"))
                try:
                    for _ in client.embed_iter(endless):
                        outcomes.append("OK")
                except Exception as error:
                    outcomes.append(error)

        threads = [threading.Thread(target=work) for work in (call, call, stream)]
        for thread in threads:
            thread.start()
        try:
            for i in range(20):
                theirs, their_line = make(f"theirs-{i}")
                write(file, *([their_line, our_line] if i % 2 else [our_line, their_line]))
                request = pb.EmbedRequest(input=text("b"))
                served.embedding.Embed(request, metadata=bearer(theirs))
                if i == 10:
                    replace(file, our_line[:-9].encode())  # half written
                    time.sleep(0.05)
        finally:
            stop.set()
            for thread in threads:
                thread.join(WAIT)
        assert len(outcomes) > 20
        assert set(outcomes) == {"OK"}


def test_a_removed_token_ends_its_streams_too(tiny_checkpoint: Path, file: Path) -> None:
    (ours, our_line), (_, other_line) = make("ours"), make("other")
    write(file, our_line, other_line)
    with running(str(tiny_checkpoint), tokens_file=str(file)) as served:
        removed = threading.Event()

        def requests() -> Iterator[pb.EmbedStreamRequest]:
            yield from stream_of(["a"])
            removed.wait(WAIT)
            yield pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[text("b")]))

        call = served.embedding.EmbedStream(requests(), metadata=bearer(ours))
        assert next(call).HasField("opened") and len(next(call).results.results) == 1
        write(file, other_line)
        removed.set()
        with pytest.raises(grpc.RpcError) as caught:
            next(call)
        assert failure(caught.value).reason == "TOKEN_REVOKED"
        with Client(served.address, token=ours) as client, pytest.raises(AccessDenied) as denied:
            client.embed("a")
        assert denied.value.reason == "WRONG_TOKEN"


def test_callers_are_distinguished_by_the_tokens_name(
    tiny_checkpoint: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [make("a"), make("a"), make("b")]
    write(file, *(line for _, line in tokens))
    seen: list[Caller] = []
    compute = Embedder.compute

    async def spied(self: Embedder, tokenized: Any, options: Any, call: Call, flow: int = 0) -> Any:
        seen.append(call.caller)
        return await compute(self, tokenized, options, call, flow)

    with running(str(tiny_checkpoint), tokens_file=str(file)) as served:
        monkeypatch.setattr(Embedder, "compute", spied)
        calls = [
            served.embedding.Embed.future(
                pb.EmbedRequest(input=text("a")), metadata=bearer(tokens[i % 3][0])
            )
            for i in range(30)
        ]
        for call in calls:
            call.result(timeout=WAIT)
    assert {(caller.name, caller.key) for caller in seen} == {
        ("a", Caller.named("a").key),
        ("b", Caller.named("b").key),
    }
    assert sum(caller.name == "a" for caller in seen) == 20


# the file


def test_lines_and_their_quotas(file: Path) -> None:
    (first, line), (second, other) = make("a", 600, 1200), make("b")
    write(file, "# who may call", "", line + "  # until spring", other)
    found = Tokens(str(file), 4, lambda kind: None)
    grant = found.grant(bearer(first))
    assert grant.name == "a" and grant.bucket is not None
    grant.bucket.take(400)  # more than its part of the burst
    with pytest.raises(QuotaExceeded, match="600 tokens a second"):
        grant.bucket.take(1)
    assert found.grant(bearer(second)).bucket is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "there are no tokens"),
        ("# nobody\n", "there are no tokens"),
        ("a:" + 64 * "0" + "\nb:" + 63 * "0", "line 2"),
        ("a:" + 64 * "0" + ":0", "line 1: a quota is at least 1"),
        ("a:" + 64 * "0" + ":1:0", "line 1: a quota is at least 1"),
        ("a:" + 64 * "0" + ":1:2:3", "line 1: must be name"),
        ("a b:" + 64 * "0", "line 1: must be name"),
        ("é:" + 64 * "0", "not ASCII"),
        ("a:" + 64 * "0" + ":5\na:" + 64 * "1" + ":6", "line 2: a has another quota"),
        ((f"a:{64 * '0'}\n") * (MAX_TOKENS + 1), "more than 1000"),
    ],
)
def test_what_is_no_tokens_file(file: Path, content: str, said: str) -> None:
    file.write_text(content)
    with pytest.raises(ConfigError, match=said) as caught:
        Tokens(str(file), 1, lambda kind: None)
    assert str(file) in str(caught.value) and "0000" not in str(caught.value)


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(ConfigError, match="tokens: No such file"):
        Tokens(str(file), 1, lambda kind: None)


def test_a_bad_file_keeps_the_tokens_and_is_logged_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad: list[str] = []
    token, line = make("a")
    write(file, line)
    found = Tokens(str(file), 1, bad.append)
    with caplog.at_level(logging.WARNING):
        for content in (line[:-1].encode(), b"", bytes(range(128, 256))):
            replace(file, content)
            for _ in range(3):
                assert found.grant(bearer(token)).name == "a"
        file.unlink()
        for _ in range(3):
            assert found.grant(bearer(token)).name == "a"
    assert bad == ["tokens"] * 4
    assert len(caplog.records) == 4
    assert hashlib.sha256(token.encode()).hexdigest()[:16] not in caplog.text
    write(file, make("b")[1])
    with pytest.raises(Unauthenticated):
        found.grant(bearer(token))


def test_a_quota_that_changes_keeps_what_is_owed(file: Path) -> None:
    token, line = make("a", 100)
    write(file, line)
    found = Tokens(str(file), 1, lambda kind: None)
    bucket = found.grant(bearer(token)).bucket
    assert bucket is not None
    bucket.take(100_000)
    write(file, line.removesuffix(":100") + ":1000")
    again = found.grant(bearer(token)).bucket
    assert again is bucket
    with pytest.raises(QuotaExceeded, match="1000 tokens a second"):
        bucket.take(0)


# quotas


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_over_time_a_bucket_gives_its_rate() -> None:
    clock = Clock()
    bucket = Bucket("a", 100.0, 50.0, clock=clock)
    passed = 0
    for _ in range(10_000):
        try:
            bucket.take(37)
            passed += 37
        except QuotaExceeded:
            pass
        clock.now += 0.01
    assert abs(passed - (100 * 100.0 + 50)) <= 37


def test_more_than_the_burst_passes_once_and_is_owed() -> None:
    clock = Clock()
    bucket = Bucket("a", 100.0, 50.0, clock=clock)
    bucket.take(250)
    clock.now = 1.9
    with pytest.raises(QuotaExceeded):
        bucket.take(0)
    clock.now = 2.1
    bucket.take(0)
    bucket.take(10)
    bucket.give_back(10_000)
    with pytest.raises(QuotaExceeded):
        bucket.take(50)
        bucket.take(1)


def test_waiting_streams_take_turns_and_may_be_hurried() -> None:
    async def run() -> tuple[list[int], float]:
        bucket = Bucket("a", 1000.0, 1.0)
        order: list[int] = []

        async def wait(number: int) -> None:
            await bucket.wait(100, lambda: False)
            order.append(number)

        began = time.monotonic()
        await asyncio.gather(*(wait(i) for i in range(4)))
        took = time.monotonic() - began
        return order, took

    order, took = asyncio.run(run())
    assert order == [0, 1, 2, 3]
    assert took >= 0.29  # the first passes at once, three wait for 100 tokens each

    async def hurried() -> None:
        bucket = Bucket("a", 0.001, 1.0)
        await bucket.wait(100, lambda: False)
        async with asyncio.timeout(WAIT):
            await bucket.wait(100, lambda: True)

    asyncio.run(hurried())


def test_over_its_quota_a_call_fails_and_a_stream_waits(tiny_checkpoint: Path, file: Path) -> None:
    (mine, my_line), (_, line) = make("mine", 200, 50), make("free")
    other, other_line = make("other")
    write(file, my_line, line, other_line)
    with running(str(tiny_checkpoint), tokens_file=str(file)) as served:
        error = exhaust(served, mine)
        assert (error.code, error.reason, error.retry_after, error.subject) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "QUOTA_EXCEEDED",
            None,
            "mine",
        )
        with Client(served.address, token=mine) as client:
            with pytest.raises(Overloaded):
                for _ in range(1000):
                    client.similarity("a", ["b"] * 20)
            # Tokenizing is not computing.
            assert len(client.tokenize("a"))
        served.embedding.Embed(pb.EmbedRequest(input=text("a")), metadata=bearer(other))
        with Client(served.address, token=mine) as client:
            assert len(list(client.embed_iter(["a text"] * 20))) == 20


def exhaust(served: Served, token: str) -> Failure:
    """The refusal of a caller over its quota."""
    for _ in range(1000):
        try:
            request = pb.BatchEmbedRequest(inputs=[text("some words")] * 20)
            served.embedding.BatchEmbed(request, metadata=bearer(token))
        except grpc.RpcError as error:
            return failure(error)
    raise AssertionError("the quota never ended")


def test_a_stream_is_held_to_the_rate(tiny_checkpoint: Path, file: Path) -> None:
    token, line = make("bulk", 1000, 1)
    write(file, line)
    with (
        running(str(tiny_checkpoint), tokens_file=str(file), max_batch_tokens=128) as served,
        Client(served.address, token=token) as client,
    ):
        each = len(client.tokenize("some words of a text"))
        count = 1500 // each
        began = time.monotonic()
        assert len(list(client.embed_iter(["some words of a text"] * count))) == count
        assert time.monotonic() - began >= 1.0  # 1,500 tokens less a group on credit


def test_work_that_was_refused_costs_no_quota(tiny_checkpoint: Path, file: Path) -> None:
    token, line = make("a", 10, 2000)
    write(file, line)
    with (
        running(
            str(tiny_checkpoint), tokens_file=str(file), max_queue_tokens=128, max_batch_tokens=128
        ) as served,
        Client(served.address, token=token) as client,
    ):
        for _ in range(20):
            with pytest.raises(Overloaded) as caught:
                client.embed("word " * 150)
            assert caught.value.reason == "REQUEST_TOO_LARGE"
        client.embed("a")
