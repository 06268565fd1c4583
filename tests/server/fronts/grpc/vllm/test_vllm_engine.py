"""VllmEngine over a real socket, against the native service of the same server."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from gemwire.v1 import embedding_pb2 as native
from gemwire_compat import vllm_engine_pb2 as pb
from gemwire_server.security.tokens import make
from support import methods
from support.harness import Served, failure, first_refused, running, text, values
from support.held_device import HeldDevice
from support.methods import WAIT
from support.token_files import bearer, write

SERVICE = pb.DESCRIPTOR.services_by_name["VllmEngine"]
QUERY = native.EmbedOptions(task=native.TASK_TYPE_RETRIEVAL_QUERY)


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), dtype="float32") as server:
        yield server


def call(served: Served, method: str, request: Any = None, **options: Any) -> Any:
    return methods.call(served.channel, SERVICE.methods_by_name[method], request, **options)


def embed(served: Served, original_text: str = "", ids: Any = (), **options: Any) -> Any:
    tokenized = pb.TokenizedInput(original_text=original_text, input_ids=ids)
    return call(served, "Embed", pb.EmbedRequest(request_id="r", tokenized=tokenized), **options)


def test_ids_are_the_whole_input(served: Served) -> None:
    """The ids of a query, prompt and special tokens included, have the query's embedding to the bit."""
    query = text("What is gravity?")
    ids = served.embedding.Tokenize(native.TokenizeRequest(input=query, options=QUERY)).ids
    expected = served.embedding.Embed(native.EmbedRequest(input=query, options=QUERY)).embedding
    for original in ("", "ignored"):
        found = embed(served, original, ids)
        np.testing.assert_array_equal(np.float32(found.embedding), values(expected))
        assert (found.prompt_tokens, found.embedding_dim) == (len(ids), 96)


@pytest.mark.parametrize("default_task", ["", "retrieval_document"])
def test_a_text_has_the_servers_default_prompt(tiny_checkpoint: Path, default_task: str) -> None:
    with running(str(tiny_checkpoint), dtype="float32", default_task=default_task) as served:
        request = native.EmbedRequest(input=text("Ω, 重力"))
        expected = served.embedding.Embed(request).embedding
        found = embed(served, "Ω, 重力")
    np.testing.assert_array_equal(np.float32(found.embedding), values(expected))
    assert (found.prompt_tokens, found.embedding_dim) == (expected.token_count, 96)


def test_the_bytes_are_protobufs_own(served: Served) -> None:
    stub: Any = served.channel.unary_unary("/vllm.grpc.engine.VllmEngine/Embed")
    request = pb.EmbedRequest(tokenized=pb.TokenizedInput(original_text="a"))
    raw = stub(request.SerializeToString())
    assert pb.EmbedResponse.FromString(raw).SerializeToString() == raw


@pytest.mark.parametrize(
    ("original", "ids", "reason"),
    [
        ("", [], "EMPTY_TEXT"),
        ("", [10**9], "TOKEN_ID_OUT_OF_RANGE"),
        ("", [5] * 3000, "TEXT_TOO_LONG"),
        ("secret " * 3000, [], "TEXT_TOO_LONG"),
    ],
)
def test_what_is_refused(served: Served, original: str, ids: list[int], reason: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        embed(served, original, ids)
    error = failure(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert error.field.startswith("tokenized") and "secret" not in error.message


def test_generate_is_refused_whatever_it_asks(served: Served) -> None:
    stub: Any = served.channel.unary_stream("/vllm.grpc.engine.VllmEngine/Generate")
    # A request as vLLM has it: an id, tokens, and sampling parameters.
    raw = b"\x0a\x01r\x12\x06\x0a\x01a\x12\x01\x05\x1a\x05\x0d\x00\x00\x80\x3f"
    with pytest.raises(grpc.RpcError) as caught:
        list(stub(raw, timeout=WAIT))
    error = failure(caught.value)
    assert error.code == grpc.StatusCode.UNIMPLEMENTED and "embeds" in error.message


def test_health_and_model(served: Served) -> None:
    health = call(served, "HealthCheck")
    assert health.healthy and not health.message
    model = call(served, "GetModelInfo")
    described = served.model.GetModel(native.GetModelRequest()).model
    assert model.model_path == described.display_name and not model.is_generation
    assert model.max_context_length == described.max_input_tokens
    assert model.vocab_size == described.vocabulary_size and not model.supports_vision


def test_abort_changes_nothing(served: Served) -> None:
    assert call(served, "Abort", pb.AbortRequest(request_ids=["r", "s"])) == pb.AbortResponse()


def test_server_info(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint)) as served:
        info = call(served, "GetServerInfo")
        assert (info.server_type, info.is_paused) == ("gemwire", False)
        assert (info.active_requests, info.last_receive_timestamp) == (0, 0.0)
        assert 0 <= info.uptime_seconds < 60
        device.hold()
        before = time.time()
        stub: Any = served.channel.unary_unary("/vllm.grpc.engine.VllmEngine/Embed")
        tokenized = pb.TokenizedInput(original_text="a")
        pending = stub.future(pb.EmbedRequest(tokenized=tokenized).SerializeToString())
        device.wait_until_running()
        later = call(served, "GetServerInfo")
        device.release()
        pending.result()
    assert later.active_requests == 1 and later.uptime_seconds > info.uptime_seconds
    assert before - 0.1 <= later.last_receive_timestamp <= time.time()


def test_it_needs_a_token(tiny_checkpoint: Path, tmp_path: Path) -> None:
    token, line = make("somebody")
    write(tmp_path / "tokens", line)
    with running(str(tiny_checkpoint), tokens_file=str(tmp_path / "tokens")) as served:
        for method in SERVICE.methods_by_name:
            with pytest.raises(grpc.RpcError) as caught:
                call(served, method, metadata=bearer("wrong"))
            assert failure(caught.value).code == grpc.StatusCode.UNAUTHENTICATED
        assert embed(served, "a", metadata=bearer(token)).embedding_dim == 96


def test_an_overload_says_when_to_retry(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), max_queue_tokens=2048, max_batch_tokens=512) as served:
        device.hold()
        stub: Any = served.channel.unary_unary("/vllm.grpc.engine.VllmEngine/Embed")
        tokenized = pb.TokenizedInput(input_ids=[5] * 500)
        raw = pb.EmbedRequest(tokenized=tokenized).SerializeToString()
        calls = [stub.future(raw, timeout=WAIT) for _ in range(12)]
        error = first_refused(calls)
        assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.retry_after is not None and error.retry_after > 0
        device.release()
