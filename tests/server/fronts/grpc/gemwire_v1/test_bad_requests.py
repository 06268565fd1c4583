"""Requests that cannot be served: bad options and sizes fail the call, bad texts fail alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from gemwire.v1 import embedding_pb2 as pb
from support.harness import Served, batch, failure, running, text, values


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), dtype="float32") as server:
        yield server


BAD_OPTIONS = [
    (pb.EmbedOptions(output_dimensionality=100), "UNSUPPORTED_DIMENSION", "output_dimensionality"),
    (pb.EmbedOptions(task=99), "UNKNOWN_TASK", "task"),  # type: ignore[arg-type]
    (pb.EmbedOptions(priority=11), "UNSUPPORTED_PRIORITY", "priority"),
    (pb.EmbedOptions(prompt_name="nope"), "UNKNOWN_PROMPT", "prompt_name"),
    (pb.EmbedOptions(truncation=9), "UNKNOWN_TRUNCATION", "truncation"),  # type: ignore[arg-type]
    (pb.EmbedOptions(encoding=77), "UNKNOWN_ENCODING", "encoding"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("options,reason,field", BAD_OPTIONS, ids=[row[1] for row in BAD_OPTIONS])
def test_bad_options_fail_the_call(
    served: Served, options: pb.EmbedOptions, reason: str, field: str
) -> None:
    for call, request in (
        (served.embedding.Embed, pb.EmbedRequest(input=text("a"), options=options)),
        (served.embedding.BatchEmbed, pb.BatchEmbedRequest(options=options)),
        (served.embedding.Tokenize, pb.TokenizeRequest(input=text("a"), options=options)),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(request)  # type: ignore[arg-type]
        error = failure(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
        assert error.field == f"options.{field}"


BAD_INPUTS = [
    (text(""), "EMPTY_TEXT", "text"),
    (pb.EmbedInput(), "EMPTY_TEXT", "text"),
    (text("a", title="t"), "TITLE_WITHOUT_DOCUMENT", "title"),
    (text("z" * 1_000_000), "TEXT_TOO_LONG", "text"),
    (pb.EmbedInput(tokens=pb.TokenIds()), "EMPTY_TEXT", "text"),
    (pb.EmbedInput(tokens=pb.TokenIds(ids=[5, 1 << 31])), "TOKEN_ID_OUT_OF_RANGE", "text"),
    (pb.EmbedInput(tokens=pb.TokenIds(ids=[5] * 2049, complete=True)), "TEXT_TOO_LONG", "text"),
]


def test_bad_inputs_fail_alone(served: Served) -> None:
    good = [text(f"neighbour {i}") for i in range(len(BAD_INPUTS))]
    expected = batch(served, good, pb.EmbedOptions())
    mixed = [
        item for pair in zip(good, [row[0] for row in BAD_INPUTS], strict=True) for item in pair
    ]
    results = served.embedding.BatchEmbed(pb.BatchEmbedRequest(inputs=mixed)).results
    found = np.stack([values(result.embedding) for result in results[::2]])
    np.testing.assert_allclose(found, expected, atol=2e-6)
    for place, (result, (_, reason, field)) in enumerate(
        zip(results[1::2], BAD_INPUTS, strict=True)
    ):
        error = failure(result.error)
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
        assert error.field == f"inputs[{2 * place + 1}].{field}"


def test_too_many_inputs(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), max_inputs_per_request=3) as served:
        with pytest.raises(grpc.RpcError) as caught:
            served.embedding.BatchEmbed(pb.BatchEmbedRequest(inputs=[text("a")] * 4))
        error = failure(caught.value)
        assert (error.reason, error.field) == ("TOO_MANY_INPUTS", "inputs")
        request = pb.ComputeSimilarityRequest(source=text("a"), targets=[text("b")] * 3)
        with pytest.raises(grpc.RpcError) as caught:
            served.embedding.ComputeSimilarity(request)
        assert failure(caught.value).reason == "TOO_MANY_INPUTS"
        assert (
            len(served.embedding.BatchEmbed(pb.BatchEmbedRequest(inputs=[text("a")] * 3)).results)
            == 3
        )
        assert len(served.embedding.BatchEmbed(pb.BatchEmbedRequest()).results) == 0


MALFORMED = {
    "random": bytes(range(200, 256)),
    "truncated": pb.EmbedRequest(input=text("hello there")).SerializeToString()[:-3],
    "invalid UTF-8": b"\x0a\x05\x0a\x03\xff\xfe\xfd",
    "surrogate": b"\x0a\x05\x0a\x03\xed\xa0\x80",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_bytes_that_are_no_message(served: Served, raw: bytes) -> None:
    for method in ("Embed", "BatchEmbed", "ComputeSimilarity", "Tokenize", "Detokenize"):
        call: Any = served.channel.unary_unary(f"/gemwire.v1.EmbeddingService/{method}")
        with pytest.raises(grpc.RpcError) as caught:
            call(raw)
        error = failure(caught.value)
        assert (error.code, error.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "MALFORMED_MESSAGE",
        )
    served.embedding.Embed(pb.EmbedRequest(input=text("still alive")))


def test_more_than_the_queue_takes_is_refused_for_good(tiny_checkpoint: Path) -> None:
    large, small = text("one two three " * 60), text("a")
    with running(str(tiny_checkpoint), max_queue_tokens=64) as served:
        stub = served.embedding
        calls: dict[str, Callable[[], Any]] = {
            "input": lambda: stub.Embed(pb.EmbedRequest(input=large)),
            "inputs": lambda: stub.BatchEmbed(pb.BatchEmbedRequest(inputs=[small, large])),
            "targets": lambda: stub.ComputeSimilarity(
                pb.ComputeSimilarityRequest(source=small, targets=[large])
            ),
        }
        for field, call in calls.items():
            with pytest.raises(grpc.RpcError) as caught:
                call()
            error = failure(caught.value)
            assert error.code is grpc.StatusCode.INVALID_ARGUMENT
            assert (error.reason, error.field) == ("REQUEST_TOO_LARGE", field)
            assert error.retry_after is None
        served.embedding.Embed(pb.EmbedRequest(input=text("short")))


def test_a_message_over_the_limit(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), max_request_bytes=10_000) as served:
        with pytest.raises(grpc.RpcError) as caught:
            served.embedding.Embed(pb.EmbedRequest(input=text("x" * 20_000)))
        assert isinstance(caught.value, grpc.Call)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        served.embedding.Embed(pb.EmbedRequest(input=text("short")))
