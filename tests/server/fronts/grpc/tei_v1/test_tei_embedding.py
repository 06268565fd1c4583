"""Vectors, metadata and headers of tei.v1, against gemwire.v1 and sentence-transformers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from google.protobuf.message import Message
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from gemwire.v1 import embedding_pb2 as v1
from gemwire_compat import tei_pb2 as pb
from gemwire_server.dialects.tei.metadata import Metadata
from gemwire_server.fronts.grpc.tei_v1.messages import embed_all_response, embed_responses
from support.harness import Served, running, text, values
from support.tei import Tei, vector

QUESTION = "Which planet is known as the Red Planet?"
TEXTS = [QUESTION, " ", "Mars, the red one.", "é 🙂 ͸", "long " * 300]
NATIVE = 96


@pytest.fixture(scope="module")
def reference(tiny_checkpoint: Path) -> SentenceTransformer:
    return SentenceTransformer(
        str(tiny_checkpoint), device="cpu", model_kwargs={"dtype": torch.float32}
    )


def native(served: Served, content: str, **options: Any) -> NDArray[np.float32]:
    """The vector of gemwire.v1."""
    request = v1.EmbedRequest(input=text(content), options=v1.EmbedOptions(**options))
    return values(served.embedding.Embed(request).embedding)


@pytest.mark.parametrize("content", TEXTS)
@pytest.mark.parametrize("prompt", [None, "query", "document"])
def test_vectors_are_those_of_gemwire_v1(
    served: Served, tei: Tei, content: str, prompt: str | None
) -> None:
    expected = native(served, content, prompt_name=prompt)
    np.testing.assert_array_equal(tei.vector(content, prompt_name=prompt), expected)
    np.testing.assert_array_equal(tei.vector(content, prompt_name=prompt, normalize=True), expected)


@pytest.mark.parametrize("dimensions", [1, 2, 50, 64, 95, 96])
def test_any_number_of_dimensions(tei: Tei, dimensions: int) -> None:
    """The first numbers of the whole vector, made of length one again."""
    whole = tei.vector(QUESTION).astype(np.float64)[:dimensions]
    found = tei.vector(QUESTION, dimensions=dimensions)
    np.testing.assert_allclose(found, whole / np.linalg.norm(whole), atol=2e-7)
    if dimensions == 1:
        assert abs(found[0]) == 1


@pytest.mark.parametrize("dimensions", [None, 1, 50])
def test_vectors_that_are_not_normalized(
    tei: Tei, reference: SentenceTransformer, dimensions: int | None
) -> None:
    for content in TEXTS:
        with torch.inference_mode():
            features = reference.preprocess([content])
            for module in list(reference)[:-1]:  # all but Normalize
                features = module(features)
        raw = features["sentence_embedding"][0].numpy()
        found = tei.vector(content, normalize=False, dimensions=dimensions)
        np.testing.assert_allclose(found, raw[:dimensions], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prompt", [None, "query"])
def test_rows_of_tokens(tei: Tei, reference: SentenceTransformer, prompt: str | None) -> None:
    """The final hidden states, of the prompt and the special tokens too."""
    for content in TEXTS:
        answer = tei.EmbedAll(pb.EmbedAllRequest(inputs=content, prompt_name=prompt))
        found = np.array([row.embeddings for row in answer.token_embeddings], np.float32)
        expected = reference.encode(content, prompt_name=prompt, output_value="token_embeddings")
        assert len(found) == answer.metadata.compute_tokens
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=2e-5)


def test_rows_that_no_default_client_receives_are_refused(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), max_response_bytes=65536) as served:
        code, message = Tei(served.channel).error("EmbedAll", pb.EmbedAllRequest(inputs="a " * 999))
        assert code == "INVALID_ARGUMENT" and "--max-response-bytes" in message


def test_cutting_the_left_side_drops_the_prompt(served: Served, tei: Tei) -> None:
    """Prompt and text are one text, whose end is kept; cutting the right side keeps the prompt."""
    long = " ".join(f"word{i % 7}" for i in range(3000))
    left: dict[str, Any] = {"truncate": True, "truncation_direction": pb.TRUNCATION_DIRECTION_LEFT}
    ends = tei.vector(long, **left)
    np.testing.assert_array_equal(tei.vector(long, prompt_name="query", **left), ends)
    np.testing.assert_array_equal(native(served, long, truncation=v1.TRUNCATION_START), ends)
    begins = tei.vector(long, prompt_name="query", truncate=True)
    expected = native(served, long, prompt_name="query", truncation=v1.TRUNCATION_END)
    np.testing.assert_array_equal(begins, expected)
    assert np.abs(begins - tei.vector(long, truncate=True)).max() > 1e-3
    # A text that fits keeps its prompt.
    np.testing.assert_array_equal(
        tei.vector("a", prompt_name="query", **left), tei.vector("a", prompt_name="query")
    )


def test_a_direction_alone_means_nothing(tei: Tei) -> None:
    request = pb.EmbedRequest(inputs="a " * 3000, truncation_direction=pb.TRUNCATION_DIRECTION_LEFT)
    assert tei.error("Embed", request)[0] == "INVALID_ARGUMENT"


def test_the_longest_texts_are_cut(tei: Tei) -> None:
    for direction in (pb.TRUNCATION_DIRECTION_RIGHT, pb.TRUNCATION_DIRECTION_LEFT):
        request = pb.EmbedRequest(
            inputs="word " * 150_000, truncate=True, truncation_direction=direction
        )
        answer = tei.Embed(request)
        assert answer.metadata.compute_tokens == 2048
        assert answer.metadata.compute_chars == 750_000


def test_the_servers_default_prompt(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), dtype="float32", default_task="retrieval_query") as served:
        tei = Tei(served.channel)
        expected = tei.vector(QUESTION, prompt_name="query")
        np.testing.assert_array_equal(tei.vector(QUESTION), expected)
        with_prompt = tei.Tokenize(pb.EncodeRequest(inputs="a", prompt_name="query")).tokens
        assert tei.Tokenize(pb.EncodeRequest(inputs="a")).tokens == with_prompt


@pytest.mark.parametrize("method", ["Embed", "EmbedAll"])
def test_metadata_and_headers(tei: Tei, method: str) -> None:
    kind = {"Embed": pb.EmbedRequest, "EmbedAll": pb.EmbedAllRequest}[method]
    request = kind(inputs="é🙂 red", prompt_name="query")
    sent = (("x-request-id", "mine"),)
    answer, call = tei.methods[method].with_call(request, metadata=sent)
    cost = answer.metadata
    prompt = len(tei.Tokenize(pb.EncodeRequest(inputs="é🙂 red", prompt_name="query")).tokens)
    assert cost.compute_chars == 6 and cost.compute_tokens == prompt + 2
    assert cost.total_time_ns >= cost.inference_time_ns > 0
    assert cost.total_time_ns >= cost.tokenization_time_ns > 0 and cost.queue_time_ns > 0
    headers = dict(call.initial_metadata())
    milliseconds = str(cost.total_time_ns // 1_000_000)
    assert headers == {
        "x-compute-type": "gpu+optimized",
        "x-compute-time": milliseconds,
        "x-total-time": milliseconds,
        "x-tokenization-time": str(cost.tokenization_time_ns // 1_000_000),
        "x-queue-time": str(cost.queue_time_ns // 1_000_000),
        "x-inference-time": str(cost.inference_time_ns // 1_000_000),
        "x-compute-characters": "6",
        "x-compute-tokens": str(cost.compute_tokens),
    }


def test_other_calls_have_no_headers(tei: Tei) -> None:
    requests: dict[str, Message] = {
        "Info": pb.InfoRequest(),
        "Tokenize": pb.EncodeRequest(inputs="a"),
        "Decode": pb.DecodeRequest(ids=[7]),
    }
    for method, request in requests.items():
        _, call = tei.methods[method].with_call(request)
        assert not call.initial_metadata()
    with pytest.raises(grpc.RpcError) as found:
        tei.Embed(pb.EmbedRequest())
    assert isinstance(found.value, grpc.Call)
    assert not [key for key, _ in found.value.initial_metadata() or () if key.startswith("x-c")]


def test_fields_that_the_server_does_not_know(served: Served, tei: Tei) -> None:
    raw = pb.EmbedRequest(inputs="a").SerializeToString() + b"\x9a\x06\x03new"
    call: Any = served.channel.unary_unary("/tei.v1.Embed/Embed")
    np.testing.assert_array_equal(vector(pb.EmbedResponse.FromString(call(raw))), tei.vector("a"))


def test_more_calls_than_the_limit(tiny_checkpoint: Path) -> None:
    """Calls of a stream wait where a unary call is refused."""
    with running(str(tiny_checkpoint), max_concurrent_calls=1) as served:
        tei = Tei(served.channel)

        def requests() -> Iterator[pb.EmbedRequest]:
            yield pb.EmbedRequest(inputs="a")
            refused.append(tei.error("Embed", pb.EmbedRequest(inputs="b")))

        refused: list[tuple[str, str]] = []
        assert len(list(tei.EmbedStream(requests()))) == 1
        assert refused == [("RESOURCE_EXHAUSTED", "Model is overloaded")]


def test_bytes_are_protobufs_own() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(3, 768)).astype(np.float32)
    costs = [Metadata(i, 7 * i, 10**i, 300, 0, 1 << 40) for i in range(3)]

    def message(cost: Metadata) -> pb.Metadata:
        return pb.Metadata(
            compute_chars=cost.characters,
            compute_tokens=cost.tokens,
            total_time_ns=cost.total_ns,
            tokenization_time_ns=cost.tokenization_ns,
            queue_time_ns=cost.queue_ns,
            inference_time_ns=cost.inference_ns,
        )

    for size in (1, 31, 32, 768):
        made = embed_responses(rows[:, :size], costs)
        for raw, row, cost in zip(made, rows, costs, strict=True):
            own = pb.EmbedResponse(embeddings=row[:size], metadata=message(cost))
            assert raw == own.SerializeToString()
    own_rows = [pb.TokenEmbedding(embeddings=row) for row in rows]
    own_all = pb.EmbedAllResponse(token_embeddings=own_rows, metadata=message(costs[1]))
    assert embed_all_response(rows, costs[1]) == own_all.SerializeToString()
