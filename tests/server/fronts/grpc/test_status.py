"""The status and details of each error, and how clients that retry react to them."""

import json
import time
from pathlib import Path

import grpc
import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from gemwire_client import Client
from gemwire_client.errors import InvalidInput as ClientInvalidInput
from gemwire_client.errors import Overloaded as ClientOverloaded
from gemwire_server.engine.admission import QueueState
from gemwire_server.errors import (
    EngineFailure,
    Expired,
    GemwireError,
    InvalidInput,
    NotFound,
    Overloaded,
    QuotaExceeded,
    Stopped,
    Unauthenticated,
)
from gemwire_server.fronts.grpc.status import to_status
from gemwire_server.security.quota import Bucket
from gemwire_server.security.tokens import make
from gemwire_server.text.tokenizer import Tokenizer
from support.harness import failure, running, text
from support.held_device import WAIT, HeldDevice
from support.token_files import bearer, write


@pytest.mark.parametrize(
    ("error", "code", "retry"),
    [
        (InvalidInput("EMPTY_TEXT", "empty", field="input.text"), "INVALID_ARGUMENT", None),
        (NotFound("MODEL_NOT_FOUND", "no such model"), "NOT_FOUND", None),
        (Overloaded("QUEUE_FULL", "full", retry_after=2.0), "RESOURCE_EXHAUSTED", 2.0),
        (Overloaded("DEADLINE_UNREACHABLE", "x", retry_after=0.5), "RESOURCE_EXHAUSTED", 0.5),
        (QuotaExceeded("QUOTA_EXCEEDED", "used", subject="a"), "RESOURCE_EXHAUSTED", None),
        (Unauthenticated("TOKEN_UNKNOWN", "no such token"), "UNAUTHENTICATED", None),
        (Expired("DEADLINE_EXCEEDED", "late"), "DEADLINE_EXCEEDED", None),
        (Stopped("DRAINING", "going"), "UNAVAILABLE", 1.0),
        (Stopped("ENGINE_RESTARTING", "soon", retry_after=3.0), "UNAVAILABLE", 3.0),
        (EngineFailure("POISON_INPUT", "failed"), "INTERNAL", None),
    ],
)
def test_every_error_has_its_code_and_its_details(
    error: GemwireError, code: str, retry: float | None
) -> None:
    found = [failure(to_status(error)) for _ in range(200)]
    assert {one.code.name for one in found} == {code}
    assert {one.reason for one in found} == {error.reason}
    delays = [one.retry_after for one in found]
    if retry is None:
        assert set(delays) == {None}
    else:  # callers that were refused together must not come back together
        known = [delay for delay in delays if delay is not None]
        assert 0.8 * retry <= min(known) < 0.85 * retry < 1.15 * retry < max(known) <= 1.2 * retry


def retrying(address: str, backoff: str) -> grpc.Channel:
    """A channel on which gRPC itself retries RESOURCE_EXHAUSTED, as another client may configure it."""
    policy = {
        "maxAttempts": 4,
        "initialBackoff": backoff,
        "maxBackoff": backoff,
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
    }
    config = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}
    return grpc.insecure_channel(address, [("grpc.service_config", json.dumps(config))])


def test_what_waiting_does_not_help_is_asked_once(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    encode = Tokenizer.encode

    def counted(self: Tokenizer, *args: object, **options: object) -> object:
        asked.append(1)
        return encode(self, *args, **options)  # type: ignore[arg-type]

    with running(str(tiny_checkpoint), max_queue_tokens=64) as served:
        monkeypatch.setattr(Tokenizer, "encode", counted)
        too_large = "one two three " * 60
        with retrying(served.address, "0.001s") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                EmbeddingServiceStub(channel).Embed(pb.EmbedRequest(input=text(too_large)))
        assert failure(caught.value).reason == "REQUEST_TOO_LARGE"
        assert len(asked) == 1
        with Client(served.address) as client, pytest.raises(ClientInvalidInput):
            client.embed(too_large)
        assert len(asked) == 2


def test_a_quota_that_is_used_up_is_asked_for_once(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trailer forbids gRPC to retry."""
    asked = []
    take = Bucket.take

    def counted(self: Bucket, tokens: int) -> None:
        asked.append(tokens)
        take(self, tokens)

    token, line = make("poor", 1, 1)
    write(tmp_path / "tokens", line)
    request = pb.EmbedRequest(input=text("one two three"))
    with running(str(tiny_checkpoint), tokens_file=str(tmp_path / "tokens")) as served:
        served.embedding.Embed(request, metadata=bearer(token))
        monkeypatch.setattr(Bucket, "take", counted)
        with retrying(served.address, "0.001s") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                EmbeddingServiceStub(channel).Embed(request, metadata=bearer(token))
        assert failure(caught.value).reason == "QUOTA_EXCEEDED"
        assert asked == [0]
        with Client(served.address, token=token) as client, pytest.raises(ClientOverloaded):
            client.embed("one two three")
        assert asked == [0, 0]


def test_a_caller_without_room_comes_back_when_the_server_says(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC retries by the trailer, and our client by RetryInfo. Each sends the call twice and no more."""
    monkeypatch.setattr(QueueState, "drain_seconds", lambda self: 1.0)
    device = HeldDevice(monkeypatch)
    refused = []
    refusal = QueueState.refusal

    def release_soon(self: QueueState, reason: str, message: str) -> Overloaded:
        refused.append(reason)
        if len(refused) == 4:
            device.release()  # long before any caller comes back
        return refusal(self, reason, message)

    monkeypatch.setattr(QueueState, "refusal", release_soon)
    request = pb.EmbedRequest(input=text("word " * 20))  # 63 tokens
    with running(str(tiny_checkpoint), max_queue_tokens=100, max_batch_tokens=100) as served:
        device.hold()
        first = served.embedding.Embed.future(pb.EmbedRequest(input=text("first")))
        device.wait_until_running()
        calls = [served.embedding.Embed.future(request) for _ in range(3)]  # one finds room
        until = time.monotonic() + WAIT
        while len(refused) < 2:
            assert time.monotonic() < until
            time.sleep(0.001)
        with retrying(served.address, "100s") as channel, Client(served.address) as client:
            patient = EmbeddingServiceStub(channel).Embed.future(request, timeout=WAIT)
            ours = client.embed("word " * 20, timeout=WAIT)
            assert patient.result(timeout=WAIT).embedding.dimensions == len(ours)
        assert first.result(timeout=WAIT)
        assert sum(call.exception(timeout=WAIT) is None for call in calls) == 1
    assert len(refused) == 4
