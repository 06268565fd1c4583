"""The unary methods over a real socket, against sentence-transformers where there is a truth."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from sentence_transformers import SentenceTransformer

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.fronts.grpc.gemwire_v1.messages import TASK_TYPES
from gemwire_server.text.prompts import TASKS
from support.harness import SERVICES, Served, batch, failure, running, text, values

TEXTS = [
    "Which planet is known as the Red Planet?",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "déjà vu — 東京 🚀\n\n\tdef f(x):    return x",
    "word " * 400,
    "x",
]


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), dtype="float32") as server:
        yield server


@pytest.fixture(scope="module")
def reference(tiny_checkpoint: Path) -> SentenceTransformer:
    return SentenceTransformer(
        str(tiny_checkpoint), device="cpu", model_kwargs={"dtype": torch.float32}
    )


@pytest.mark.parametrize("number,task", TASK_TYPES.items(), ids=str)
def test_every_task_has_the_model_cards_prompt(
    served: Served, reference: SentenceTransformer, number: pb.TaskType, task: str
) -> None:
    _, card = TASKS[task]
    expected = reference.encode(TEXTS, prompt=card, batch_size=1)
    found = batch(served, [text(t) for t in TEXTS], pb.EmbedOptions(task=number))
    np.testing.assert_allclose(found, expected, atol=5e-6)


def test_a_title_takes_its_place_in_the_documents_prompt(
    served: Served, reference: SentenceTransformer
) -> None:
    options = pb.EmbedOptions(task=pb.TASK_TYPE_RETRIEVAL_DOCUMENT)
    found = batch(served, [text(TEXTS[1], title="Mars"), text(TEXTS[1])], options)
    expected = reference.encode(
        [f"title: Mars | text: {TEXTS[1]}", f"title: none | text: {TEXTS[1]}"], batch_size=1
    )
    np.testing.assert_allclose(found, expected, atol=5e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_every_named_prompt(served: Served, reference: SentenceTransformer) -> None:
    model = served.model.GetModel(pb.GetModelRequest(name="")).model
    assert dict(model.prompts) == reference.prompts
    for name in model.prompts:
        found = batch(served, [text(TEXTS[0])], pb.EmbedOptions(prompt_name=name))
        expected = reference.encode([TEXTS[0]], prompt_name=name)
        np.testing.assert_allclose(found, expected, atol=5e-6)


def test_prompt_text_and_no_prompt(served: Served, reference: SentenceTransformer) -> None:
    found = batch(served, [text(TEXTS[0])], pb.EmbedOptions(prompt_text="my own: "))
    np.testing.assert_allclose(found, reference.encode([TEXTS[0]], prompt="my own: "), atol=5e-6)
    found = batch(served, [text(TEXTS[0])], pb.EmbedOptions())
    np.testing.assert_allclose(found, reference.encode([TEXTS[0]]), atol=5e-6)


def test_every_dimension(served: Served, reference: SentenceTransformer) -> None:
    model = served.model.ListModels(pb.ListModelsRequest()).models[0]
    assert len(model.supported_dimensions) > 1
    full = reference.encode(TEXTS, batch_size=1)
    for size in model.supported_dimensions:
        expected = full[:, :size] / np.linalg.norm(full[:, :size], axis=1, keepdims=True)
        options = pb.EmbedOptions(output_dimensionality=size)
        np.testing.assert_allclose(
            batch(served, [text(t) for t in TEXTS], options), expected, atol=5e-6
        )
        options.normalize = False
        cut = batch(served, [text(t) for t in TEXTS], options)
        np.testing.assert_allclose(cut, full[:, :size], atol=5e-6)


def test_single_equals_batch_and_token_ids_equal_text(served: Served) -> None:
    options = pb.EmbedOptions(task=pb.TASK_TYPE_RETRIEVAL_QUERY, include_timing=True)
    together = batch(served, [text(t) for t in TEXTS], options)
    for expected, value in zip(together, TEXTS, strict=True):
        alone = served.embedding.Embed(pb.EmbedRequest(input=text(value), options=options))
        np.testing.assert_allclose(values(alone.embedding), expected, atol=2e-6)
        assert alone.timing.batch_tokens == alone.embedding.token_count
        assert alone.timing.total.ToNanoseconds() >= alone.timing.compute.ToNanoseconds() > 0
        tokens = served.embedding.Tokenize(pb.TokenizeRequest(input=text(value), options=options))
        assert len(tokens.ids) == alone.embedding.token_count
        ids = pb.EmbedInput(tokens=pb.TokenIds(ids=tokens.ids, complete=True))
        by_ids = served.embedding.Embed(pb.EmbedRequest(input=ids))
        np.testing.assert_allclose(values(by_ids.embedding), expected, atol=2e-6)


def test_bare_ids_get_prompt_and_special_tokens(served: Served) -> None:
    raw = served.embedding.Tokenize(pb.TokenizeRequest(input=text("x y z"))).ids
    inner = pb.EmbedInput(tokens=pb.TokenIds(ids=raw[1:-1]))
    assert served.embedding.Tokenize(pb.TokenizeRequest(input=inner)).ids == raw


def test_truncation_is_asked_for_and_reported(
    served: Served, reference: SentenceTransformer
) -> None:
    long = " ".join(str(i) for i in range(3000))
    with pytest.raises(grpc.RpcError) as caught:
        served.embedding.Embed(pb.EmbedRequest(input=text(long)))
    error = failure(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TEXT_TOO_LONG")
    assert error.field == "input.text" and "2048" in error.message
    end = served.embedding.Embed(
        pb.EmbedRequest(input=text(long), options=pb.EmbedOptions(truncation=pb.TRUNCATION_END))
    )
    assert end.embedding.truncated and end.embedding.token_count == 2048
    np.testing.assert_allclose(values(end.embedding), reference.encode(long), atol=5e-6)
    start = served.embedding.Embed(
        pb.EmbedRequest(input=text(long), options=pb.EmbedOptions(truncation=pb.TRUNCATION_START))
    )
    assert start.embedding.truncated
    assert np.abs(values(start.embedding) - values(end.embedding)).max() > 1e-3
    assert served.embedding.Tokenize(pb.TokenizeRequest(input=text(long))).over_limit


def test_similarity(served: Served, reference: SentenceTransformer) -> None:
    request = pb.ComputeSimilarityRequest(
        source=text(TEXTS[0]),
        targets=[text(t) for t in TEXTS[1:]],
        options=pb.EmbedOptions(task=pb.TASK_TYPE_RETRIEVAL_QUERY),
        target_options=pb.EmbedOptions(task=pb.TASK_TYPE_RETRIEVAL_DOCUMENT),
    )
    scores = [result.score for result in served.embedding.ComputeSimilarity(request).results]
    query = reference.encode(TEXTS[0], prompt_name="query")
    documents = reference.encode(TEXTS[1:], prompt_name="document", batch_size=1)
    np.testing.assert_allclose(scores, documents @ query, atol=1e-5)
    request.target_options.output_dimensionality = 32
    with pytest.raises(grpc.RpcError) as caught:
        served.embedding.ComputeSimilarity(request)
    assert failure(caught.value).reason == "DIMENSIONS_DIFFER"


def test_models(served: Served, tiny_checkpoint: Path) -> None:
    (model,) = served.model.ListModels(pb.ListModelsRequest()).models
    assert model.name == "models/tiny" and model.dtype == "float32"
    for name in ("models/tiny", "tiny", ""):
        assert served.model.GetModel(pb.GetModelRequest(name=name)).model == model
    embed = pb.EmbedRequest(input=text("a"), options=pb.EmbedOptions(model="models/tiny"))
    assert served.embedding.Embed(embed).model_revision == model.revision
    embed.options.model = "models/other"
    for call in (
        lambda: served.embedding.Embed(embed),
        lambda: served.model.GetModel(pb.GetModelRequest(name="other")),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert failure(caught.value).code is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as caught:
        served.model.ListModels(pb.ListModelsRequest(page_token="x"))
    assert failure(caught.value).code is grpc.StatusCode.INVALID_ARGUMENT


def test_health_and_reflection(served: Served) -> None:
    health: Any = health_pb2_grpc.HealthStub(served.channel)
    for name in ("", "gemwire.v1.EmbeddingService", "gemwire.v1.ModelService"):
        response = health.Check(health_pb2.HealthCheckRequest(service=name))
        assert response.status == health_pb2.HealthCheckResponse.SERVING
    database = ProtoReflectionDescriptorDatabase(served.channel)
    assert set(database.get_services()) == set(SERVICES)
    pool = descriptor_pool.DescriptorPool(database)
    service = pool.FindServiceByName("gemwire.v1.EmbeddingService")
    assert {method.name for method in service.methods} == {
        "Embed", "BatchEmbed", "EmbedStream", "ComputeSimilarity", "Tokenize",
        "Detokenize",
    }  # fmt: skip


def test_reflection_can_be_off(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), reflection=False) as served:
        with pytest.raises(grpc.RpcError) as caught:
            ProtoReflectionDescriptorDatabase(served.channel).get_services()
        assert isinstance(caught.value, grpc.Call)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_default_task(tiny_checkpoint: Path, reference: SentenceTransformer) -> None:
    with running(
        str(tiny_checkpoint), dtype="float32", default_task="retrieval_document"
    ) as served:
        found = batch(served, [text(TEXTS[1], title="Mars")], pb.EmbedOptions())
        expected = reference.encode([f"title: Mars | text: {TEXTS[1]}"])
        np.testing.assert_allclose(found, expected, atol=5e-6)
        raw = batch(served, [text(TEXTS[1])], pb.EmbedOptions(prompt_text=""))
        np.testing.assert_allclose(raw, reference.encode([TEXTS[1]]), atol=5e-6)
        model = served.model.GetModel(pb.GetModelRequest()).model
        assert model.default_task == pb.TASK_TYPE_RETRIEVAL_DOCUMENT


def test_concurrent_callers_each_get_their_own(served: Served) -> None:
    options = pb.EmbedOptions()
    expected = batch(served, [text(f"caller {i}") for i in range(8)], options)
    wrong: list[int] = []

    def call(i: int) -> None:
        for _ in range(20):
            response = served.embedding.Embed(pb.EmbedRequest(input=text(f"caller {i}")))
            if np.abs(values(response.embedding) - expected[i]).max() > 2e-6:
                wrong.append(i)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
