"""No answer is larger than --max-response-bytes, and what would be is refused, before it is computed where
that can be known."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from gemwire_client import AsyncClient, Client
from gemwire_client.requests import ANSWER_OVERHEAD, result_bytes
from gemwire_server.errors import CheckpointError
from gemwire_server.fronts.grpc.gemwire_v1.wire import ERROR_BYTES, results_that_fit
from gemwire_server.service.vectors import Encoding, VectorFormat
from support.harness import Served, failure, running, text
from support.scrape import at_rest, scrape, scrape_until

WAIT = 60.0
SMALL = 65536
TOO_LARGE = (grpc.StatusCode.INVALID_ARGUMENT, "RESPONSE_TOO_LARGE")


def with_prompts(source: Path, folder: Path, count: int) -> Path:
    """A copy of a checkpoint with `count` more prompts, of 100 bytes each."""
    shutil.copytree(source, folder)
    file = folder / "config_sentence_transformers.json"
    config = json.loads(file.read_text())
    config["prompts"] |= {f"a prompt of number {i}": "p: " * 25 for i in range(count)}
    file.write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(
        str(tiny_checkpoint),
        max_inputs_per_request=20_001,
        max_response_bytes=SMALL,
        metrics_address="127.0.0.1:0",
    ) as server:
        yield server


def computed(served: Served) -> float:
    return scrape_until(served.metrics_address, at_rest).total(
        "gemwire_engine_texts_accepted_total"
    )


def refused(call: Callable[[], Any]) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    found = failure(caught.value)
    assert (found.code, found.reason) == TOO_LARGE, found
    return found


def test_a_client_as_it_comes_gets_all_that_is_not_refused() -> None:
    """4 MiB is what gRPC's clients take, and the server's default: 384 floats a text."""
    with (
        running(
            "gemwire-mini", max_inputs_per_request=3000, metrics_address="127.0.0.1:0"
        ) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        embedding: Any = EmbeddingServiceStub(channel)
        limits = server.model.GetModel(pb.GetModelRequest()).model.limits
        assert limits.max_response_bytes == 4 * 2**20
        before = computed(server)

        def ask(count: int, encoding: pb.VectorEncoding) -> pb.BatchEmbedResponse:
            options = pb.EmbedOptions(encoding=encoding)
            inputs = [text(f"text {i}") for i in range(count)]
            answer: pb.BatchEmbedResponse = embedding.BatchEmbed(
                pb.BatchEmbedRequest(inputs=inputs, options=options), timeout=WAIT
            )
            return answer

        found = refused(lambda: ask(3000, pb.VECTOR_ENCODING_FLOAT32))
        assert found.field == "inputs"
        assert "send at most 2647 at once, or ask for fewer dimensions" in found.message
        refused(lambda: ask(2648, pb.VECTOR_ENCODING_FLOAT32))
        assert computed(server) == before
        answer = ask(2647, pb.VECTOR_ENCODING_FLOAT32)
        assert len(answer.results) == 2647
        # The count is an upper bound, and a close one.
        assert 0.96 < answer.ByteSize() / limits.max_response_bytes <= 1
        assert len(ask(3000, pb.VECTOR_ENCODING_FLOAT16).results) == 3000


def test_limits_that_disagree_are_logged(
    tiny_checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(str(tiny_checkpoint)):
        assert "--max-response-bytes" not in caplog.text
    with running(str(tiny_checkpoint), max_response_bytes=SMALL):
        assert "--max-response-bytes 65536 holds 126 vectors" in caplog.text


def test_a_model_whose_description_no_client_could_receive_is_refused(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = str(with_prompts(tiny_checkpoint, tmp_path / "prompts", 1000))
    with (
        pytest.raises(CheckpointError, match="--max-response-bytes is 65536: raise it"),
        running(folder, max_response_bytes=SMALL),
    ):
        pass
    size = 200_000
    with running(folder, max_response_bytes=size) as server:
        answer = server.model.GetModel(pb.GetModelRequest())
        assert SMALL < answer.ByteSize() <= size


def test_similarity_is_counted_too(served: Served) -> None:
    before = computed(served)
    request = pb.ComputeSimilarityRequest(source=text("a"), targets=[text("b")] * 20_000)
    found = refused(lambda: served.embedding.ComputeSimilarity(request))
    assert found.field == "targets" and computed(served) == before
    most = (SMALL - 1024) // ERROR_BYTES
    assert found.message.endswith(f"send at most {most} at once")
    del request.targets[most + 1 :]
    refused(lambda: served.embedding.ComputeSimilarity(request))
    assert computed(served) == before
    del request.targets[most:]
    assert len(served.embedding.ComputeSimilarity(request).results) == most


def test_similarity_names_sizes_and_number_before_the_size_of_its_answer(served: Served) -> None:
    """The order of docs/refusals.md. Less than 64 KiB of empty targets would all be refused for it."""
    request = pb.ComputeSimilarityRequest(source=text("a"), targets=[pb.EmbedInput()] * 20_001)
    for wrong, reason in (
        ({}, "TOO_MANY_INPUTS"),
        ({"output_dimensionality": 64}, "DIMENSIONS_DIFFER"),
    ):
        request.target_options.CopyFrom(pb.EmbedOptions(**wrong))  # type: ignore[arg-type]
        with pytest.raises(grpc.RpcError) as caught:
            served.embedding.ComputeSimilarity(request)
        assert failure(caught.value).reason == reason


def test_what_is_known_only_afterwards_is_refused_then(served: Served) -> None:
    many = pb.TokenizeRequest(input=text("x y " * 6000), include_pieces=True)
    assert "without its pieces" in refused(lambda: served.embedding.Tokenize(many)).message
    few = pb.TokenizeRequest(input=text("many words " * 80), include_pieces=True)
    assert len(served.embedding.Tokenize(few).pieces) > 80


BAD: list[tuple[pb.EmbedInput, pb.EmbedOptions, str]] = [
    (text(""), pb.EmbedOptions(), "EMPTY_TEXT"),
    (pb.EmbedInput(), pb.EmbedOptions(), "EMPTY_TEXT"),
    (text("a", title="t"), pb.EmbedOptions(), "TITLE_WITHOUT_DOCUMENT"),
    (text("a", title="t"), pb.EmbedOptions(task=pb.TASK_TYPE_CODE_RETRIEVAL_QUERY),
     "TITLE_WITHOUT_DOCUMENT"),
    (text("one two three " * 2000), pb.EmbedOptions(), "TEXT_TOO_LONG"),
    (text("x" * 2_000_000), pb.EmbedOptions(), "TEXT_TOO_LONG"),
    (pb.EmbedInput(tokens=pb.TokenIds(ids=[2**31 - 1])), pb.EmbedOptions(), "TOKEN_ID_OUT_OF_RANGE"),
    (text("a"), pb.EmbedOptions(prompt_text="p " * 2048), "PROMPT_TOO_LONG"),
]  # fmt: skip


@pytest.mark.parametrize("item,options,reason", BAD)
def test_an_error_takes_no_more_than_is_counted_for_it(
    served: Served, item: pb.EmbedInput, options: pb.EmbedOptions, reason: str
) -> None:
    request = pb.BatchEmbedRequest(inputs=[text("a")] * 99 + [item], options=options)
    result = served.embedding.BatchEmbed(request).results[-1]
    assert failure(result.error).reason == reason
    # Before it comes a tag and a length; figures may be longer elsewhere.
    assert result.ByteSize() + 4 + 40 <= ERROR_BYTES
    ids = pb.EmbedInput(
        tokens=pb.TokenIds(ids=[2, 9, 1], complete=True)
    )  # no prompt is too long for it
    scored = pb.ComputeSimilarityRequest(
        source=ids, targets=[text("a")] * 99 + [item], options=options
    )
    target = served.embedding.ComputeSimilarity(scored).results[-1]
    assert failure(target.error).reason == reason
    assert target.ByteSize() + 4 + 40 <= ERROR_BYTES


def test_all_bad_texts_still_fit(served: Served) -> None:
    most = (SMALL - 1024) // ERROR_BYTES
    item = pb.EmbedInput(text="a", title="t")
    options = pb.EmbedOptions(task=pb.TASK_TYPE_CODE_RETRIEVAL_QUERY, include_timing=True)
    request = pb.BatchEmbedRequest(inputs=[item] * most, options=options)
    assert served.embedding.BatchEmbed(request).ByteSize() <= SMALL
    scored = pb.ComputeSimilarityRequest(source=text("a"), targets=[item] * most, options=options)
    answer = served.embedding.ComputeSimilarity(scored)
    assert {result.WhichOneof("outcome") for result in answer.results} == {"error"}
    assert answer.HasField("timing") and answer.ByteSize() <= SMALL
    request.inputs.add(text="b")
    # 512 bytes a text are counted whatever its vector takes, so smaller vectors would not help.
    request.options.encoding = pb.VECTOR_ENCODING_UBINARY
    found = refused(lambda: served.embedding.BatchEmbed(request))
    assert found.message.endswith(f"send at most {most} at once")


@pytest.mark.parametrize("ordered", [False, True])
def test_messages_of_a_stream_are_cut_to_size(served: Served, ordered: bool) -> None:
    """More texts in a message than the credit are answered too, in as many messages as it takes."""
    method: Any = served.channel.stream_stream("/gemwire.v1.EmbeddingService/EmbedStream")
    messages = [
        pb.EmbedStreamRequest(open=pb.StreamOpen(ordered=ordered)),
        pb.EmbedStreamRequest(batch=pb.StreamBatch(inputs=[text("a")] * 2000)),
        pb.EmbedStreamRequest(batch=pb.StreamBatch(first_id=2000, inputs=[text("")] * 500)),
    ]
    raw = list(method(iter([m.SerializeToString() for m in messages]), timeout=WAIT))
    assert max(map(len, raw)) <= SMALL
    answers = [pb.EmbedStreamResponse.FromString(message) for message in raw]
    ids = [result.id for answer in answers for result in answer.results.results]
    assert sorted(ids) == list(range(2500))
    assert sum(answer.results.granted_inputs for answer in answers) == 2500


def test_our_clients_ask_for_what_fits(served: Served) -> None:
    texts = [f"text {i}" for i in range(400)]  # 126 an answer

    async def embed() -> Any:
        async with AsyncClient(served.address) as client:
            return await client.embed(texts)

    with Client(served.address) as client:
        assert client.model().limits.max_response_bytes == SMALL
        found = client.embed(texts)
        scores = client.similarity(texts[0], texts)
    np.testing.assert_allclose(scores, found @ found[0], atol=2e-6)
    assert len(found) == 400
    np.testing.assert_allclose(asyncio.run(embed()), found, atol=2e-6)
    page = scrape(served.metrics_address)
    assert page.total("gemwire_calls_started_total", method="BatchEmbed") >= 8


@pytest.mark.parametrize("dimensions", [12, 128, 768])
@pytest.mark.parametrize("encoding", Encoding)
def test_client_and_server_count_alike(encoding: Encoding, dimensions: int) -> None:
    """The client counts bytes as for float32, whatever the encoding."""
    asked = (SMALL - ANSWER_OVERHEAD) // result_bytes(dimensions)
    served = results_that_fit(VectorFormat(dimensions, normalize=True, encoding=encoding), SMALL)
    assert asked == served if encoding is Encoding.FLOAT32 else asked <= served


def test_an_error_does_not_list_more_prompts_than_trailers_hold(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint = with_prompts(tiny_checkpoint, tmp_path / "prompts", 1000)
    with running(str(checkpoint)) as server, grpc.insecure_channel(server.address) as channel:
        embedding: Any = EmbeddingServiceStub(channel)
        options = pb.EmbedOptions(prompt_name="unknown")
        with pytest.raises(grpc.RpcError) as caught:
            embedding.Embed(pb.EmbedRequest(input=text("a"), options=options))
        found = failure(caught.value)
        assert found.reason == "UNKNOWN_PROMPT" and "Model.prompts" in found.message
        assert len(server.model.GetModel(pb.GetModelRequest()).model.prompts) > 1000
