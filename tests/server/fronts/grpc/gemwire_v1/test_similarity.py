"""ComputeSimilarity over a real socket, against the cosines of Embed's vectors."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from support.harness import Served, failure, running, text, values
from support.scrape import at_rest, scrape_until

SOURCE = text("Which planet is known as the Red Planet?")
GOOD = [text(f"Mars is the planet number {i}.") for i in range(5)]
# Each with the reason and the field below its own path.
BAD: list[tuple[pb.EmbedInput, str, str]] = [
    (text(""), "EMPTY_TEXT", "text"),
    (pb.EmbedInput(), "EMPTY_TEXT", "text"),
    (text("one two three " * 2000), "TEXT_TOO_LONG", "text"),
    (text("a", title="t"), "TITLE_WITHOUT_DOCUMENT", "title"),
    (pb.EmbedInput(tokens=pb.TokenIds(ids=[2**31 - 1])), "TOKEN_ID_OUT_OF_RANGE", "text"),
]


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), dtype="float32", metrics_address="127.0.0.1:0") as server:
        yield server


def computed(served: Served) -> float:
    return scrape_until(served.metrics_address, at_rest).total(
        "gemwire_engine_texts_accepted_total"
    )


def vector(served: Served, item: pb.EmbedInput, options: pb.EmbedOptions) -> NDArray[np.float32]:
    """The unit vector of a text, fp32 [dimensions], by a call of its own."""
    answer = served.embedding.Embed(pb.EmbedRequest(input=item, options=options))
    found = values(answer.embedding)
    unit: NDArray[np.float32] = found / np.linalg.norm(found)
    return unit


def asked(
    targets: list[pb.EmbedInput], source: pb.EmbedInput = SOURCE, **options: pb.EmbedOptions
) -> pb.ComputeSimilarityRequest:
    return pb.ComputeSimilarityRequest(source=source, targets=targets, **options)


def test_bad_targets_fail_alone(served: Served) -> None:
    """Bad ones stand before, between and behind good ones."""
    mixed = [BAD[0][0], GOOD[0], GOOD[1], BAD[1][0], BAD[2][0], GOOD[2], BAD[3][0], GOOD[3]]
    mixed.append(BAD[4][0])
    answer = served.embedding.ComputeSimilarity(asked(mixed))
    source = vector(served, SOURCE, pb.EmbedOptions())
    bad = {0: BAD[0], 3: BAD[1], 4: BAD[2], 6: BAD[3], 8: BAD[4]}
    assert len(answer.results) == len(mixed)
    for i, result in enumerate(answer.results):
        if i in bad:
            assert result.WhichOneof("outcome") == "error"
            error = failure(result.error)
            _, reason, field = bad[i]
            assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
            assert error.field == f"targets[{i}].{field}"
        else:
            assert result.WhichOneof("outcome") == "score"
            expected = vector(served, mixed[i], pb.EmbedOptions()) @ source
            np.testing.assert_allclose(result.score, expected, atol=2e-6)
    model = served.model.GetModel(pb.GetModelRequest()).model
    assert answer.model_revision == model.revision != ""
    assert not answer.HasField("timing")


@pytest.mark.parametrize("item,reason,field", BAD)
def test_a_bad_source_fails_the_call_and_no_target_is_computed(
    served: Served, item: pb.EmbedInput, reason: str, field: str
) -> None:
    before = computed(served)
    with pytest.raises(grpc.RpcError) as caught:
        served.embedding.ComputeSimilarity(asked([text(""), *GOOD], item))
    error = failure(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert error.field == f"source.{field}"
    assert computed(served) == before


def test_targets_that_are_all_bad(served: Served) -> None:
    items = [item for item, _, _ in BAD]
    answer = served.embedding.ComputeSimilarity(asked(items))
    assert [failure(result.error).reason for result in answer.results] == [
        reason for _, reason, _ in BAD
    ]
    assert answer.model_revision


def test_no_targets(served: Served) -> None:
    answer = served.embedding.ComputeSimilarity(asked([]))
    assert not answer.results and answer.model_revision


def test_as_many_targets_as_the_limit_leaves(served: Served) -> None:
    limit = served.model.GetModel(pb.GetModelRequest()).model.limits.max_inputs_per_request
    assert limit == 1024
    mixed = [text("") if i % 100 == 7 else GOOD[i % 5] for i in range(limit - 1)]
    answer = served.embedding.ComputeSimilarity(asked(mixed))
    source = vector(served, SOURCE, pb.EmbedOptions())
    expected = [vector(served, item, pb.EmbedOptions()) @ source for item in GOOD]
    assert len(answer.results) == 1023
    for i, result in enumerate(answer.results):
        if i % 100 == 7:
            assert failure(result.error).field == f"targets[{i}].text"
        else:
            np.testing.assert_allclose(result.score, expected[i % 5], atol=2e-6)
    with pytest.raises(grpc.RpcError) as caught:
        served.embedding.ComputeSimilarity(asked([*mixed, GOOD[0]]))
    assert failure(caught.value).reason == "TOO_MANY_INPUTS"


@pytest.mark.parametrize("size", [0, 64, 32])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_score_is_a_cosine_at_every_size(served: Served, size: int, normalize: bool) -> None:
    """Neither the encoding nor the length that is asked for matters."""
    query = pb.EmbedOptions(
        task=pb.TASK_TYPE_RETRIEVAL_QUERY, output_dimensionality=size, normalize=normalize
    )
    document = pb.EmbedOptions(
        task=pb.TASK_TYPE_RETRIEVAL_DOCUMENT, output_dimensionality=size, normalize=normalize
    )
    titled = [text("Mars", title="Planets"), *GOOD]
    source = vector(served, SOURCE, query)
    expected = [vector(served, item, document) @ source for item in titled]
    query.encoding = pb.VECTOR_ENCODING_UBINARY
    request = asked([*titled, text("")], options=query, target_options=document)
    *scored, failed = served.embedding.ComputeSimilarity(request).results
    np.testing.assert_allclose([each.score for each in scored], expected, atol=2e-6)
    assert failed.HasField("error")


def test_no_score_is_over_one(served: Served) -> None:
    """A cosine of single precision may be, of texts that are alike."""
    for i in range(40):
        item = text(f"word {i} " * (i + 1))
        (result,) = served.embedding.ComputeSimilarity(asked([item], item)).results
        assert 0.99999 < result.score <= 1


def test_timing_if_asked_for(served: Served) -> None:
    options = pb.EmbedOptions(include_timing=True)
    answer = served.embedding.ComputeSimilarity(asked([*GOOD, text("")], options=options))
    assert answer.timing.batch_texts == 1 + len(GOOD)
    ids = [
        served.embedding.Tokenize(pb.TokenizeRequest(input=item)).ids for item in (SOURCE, *GOOD)
    ]
    assert answer.timing.batch_tokens == sum(map(len, ids))
    spent = [
        getattr(answer.timing, part).ToNanoseconds() for part in ("tokenize", "queue", "compute")
    ]
    assert spent[0] > 0 and spent[2] > 0
    assert sum(spent) <= answer.timing.total.ToNanoseconds()
