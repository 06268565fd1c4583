"""Bearer tokens and quotas: every method asks, the file may change meanwhile, shares are by name."""

import itertools
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
from gemwire_client import AccessDenied, Client, InvalidInput, Overloaded
from gemwire_server.security import tokens as tokens_module
from gemwire_server.security.tokens import make
from gemwire_server.service.call import Call, Caller
from gemwire_server.service.embedder import Embedder
from support.certificates import replace
from support.harness import Failure, Served, failure, running, text
from support.token_files import Metadata, bearer, write

WAIT = 30.0
METHODS = [
    f"/{service.full_name}/{method.name}"
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tokens file that is looked at for each call."""
    monkeypatch.setattr(tokens_module, "LOOK_SECONDS", 0.0)
    return tmp_path / "tokens"


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
        assert len(METHODS) == 8
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

    async def spied(self: Embedder, tokenized: Any, options: Any, call: Call, *others: Any) -> Any:
        seen.append(call.caller)
        return await compute(self, tokenized, options, call, *others)

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
            with pytest.raises(InvalidInput) as caught:
                client.embed("word " * 150)
            assert caught.value.reason == "REQUEST_TOO_LARGE"
        long, metadata = stream_of(["word " * 150] * 20), bearer(token)
        answers = served.embedding.EmbedStream(long, metadata=metadata, timeout=WAIT)
        errors = [result.error for answer in answers for result in answer.results.results]
        assert [failure(error).reason for error in errors] == ["REQUEST_TOO_LARGE"] * 20
        client.embed("a")
