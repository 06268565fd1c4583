"""POST /v1/embeddings over a real socket: its vectors are BatchEmbed's to the bit, whatever the prompt."""

import base64
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.text.prompts import TASKS
from support.harness import Served, batch, running, text
from support.json_http import Answer, request
from support.scrape import scrape
from support.texts import random_text

PATH = "/v1/embeddings"
SHORT_SUFFIXES = {"query": "retrieval_query", "document": "retrieval_document"}
SEED = random.SystemRandom().randrange(2**32)


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", http_token_ids=True, call_seconds=60.0
    ) as server:
        yield server


def embed(served: Served, input: Any, **fields: Any) -> Answer:
    answer = request(served.http_address, PATH, {"input": input, **fields})
    assert answer.status == 200, answer.raw
    return answer


def vectors(answer: Answer) -> NDArray[np.float32]:
    """The rows, fp32; the numbers of JSON are read as Python reads them and rounded to float32."""
    data = answer.json["data"]
    assert [each["index"] for each in data] == list(range(len(data)))
    assert {each["object"] for each in data} == {"embedding"}
    return np.stack(
        [
            np.frombuffer(base64.b64decode(each["embedding"], validate=True), "<f4")
            if isinstance(each["embedding"], str)
            else np.array(each["embedding"], np.float64).astype(np.float32)
            for each in data
        ]
    )


def assert_bits(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def some_texts(count: int, seed: int = SEED) -> list[str]:
    rng = random.Random(seed)
    return [random_text(rng) for _ in range(count)]


@pytest.mark.parametrize("form", [None, "float", "base64"])
@pytest.mark.parametrize("dimensions", [None, 96, 64, 32])
def test_vectors_are_those_of_batch_embed(
    served: Served, form: str | None, dimensions: int | None
) -> None:
    texts = some_texts(70)
    answer = embed(served, texts, encoding_format=form, dimensions=dimensions)
    options = pb.EmbedOptions(output_dimensionality=dimensions or 0)
    assert_bits(vectors(answer), batch(served, [text(each) for each in texts], options))
    is_base64 = isinstance(answer.json["data"][0]["embedding"], str)
    assert is_base64 == (form == "base64"), f"seed {SEED}"


def test_the_form_of_an_answer(served: Served) -> None:
    answer = embed(served, ["a", "b c"], model="tiny", user="somebody", unknown={"a": [1]})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    found = answer.json
    assert list(found) == ["object", "data", "model", "usage"]
    assert found["object"] == "list" and found["model"] == "tiny"
    counts = [
        len(served.embedding.Tokenize(pb.TokenizeRequest(input=text(each))).ids)
        for each in ("a", "b c")
    ]
    assert found["usage"] == {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    assert type(found["usage"]["total_tokens"]) is int


def test_calls_texts_and_tokens_are_counted(tiny_checkpoint: Path) -> None:
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", metrics_address="127.0.0.1:0"
    ) as server:
        tokens = embed(server, ["a", "b c"]).json["usage"]["total_tokens"]
        request(server.http_address, PATH, {"input": ["a", ""]})
        page = scrape(server.metrics_address)
        labels = {"api": "openai.v1", "method": "embeddings"}
        assert page.total("gemwire_calls_ended_total", **labels, code="OK") == 1
        assert page.total("gemwire_calls_ended_total", **labels, code="INVALID_ARGUMENT") == 1
        assert page.total("gemwire_texts_total", **labels) == 2
        assert page.total("gemwire_tokens_total", **labels) == tokens


def test_one_text_alone(served: Served) -> None:
    (each,) = some_texts(1, SEED + 1)
    answer = embed(served, each)
    assert_bits(vectors(answer), batch(served, [text(each)], pb.EmbedOptions()))
    assert answer.json["model"] == "tiny"


def test_null_is_no_value_and_paths_are_alike(served: Served) -> None:
    fields = (
        "model user dimensions encoding_format task prompt_name prompt input_type title truncation"
    )
    body = {"input": "a text", **dict.fromkeys(fields.split())}
    expected = vectors(embed(served, "a text"))
    for path in (PATH, "/embeddings"):
        assert_bits(vectors(request(served.http_address, path, body)), expected)


@pytest.mark.parametrize("task", TASKS)
def test_every_way_to_a_task_is_the_task(served: Served, task: str) -> None:
    texts = some_texts(3)
    expected = batch(
        served, [text(each) for each in texts], pb.EmbedOptions(task=f"TASK_TYPE_{task.upper()}")
    )
    suffixes = [task, *(suffix for suffix, of in SHORT_SUFFIXES.items() if of == task)]
    ways: list[dict[str, str]] = [
        {"task": task},
        {"task": task.upper()},
        {"input_type": task},
        *({"model": f"tiny:{suffix}"} for suffix in suffixes),
        *({"model": f"tiny-embed:{suffix}"} for suffix in suffixes),
        *({"model": f"models/tiny:{suffix}"} for suffix in suffixes),
    ]
    spellings = {
        "retrieval_query": ["query", "search_query"],
        "retrieval_document": ["document", "search_document", "passage"],
    }
    ways += [{"input_type": spelling} for spelling in spellings.get(task, [])]
    for way in ways:
        answer = embed(served, texts, **way)
        assert_bits(vectors(answer), expected)
        assert answer.json["model"] == way.get("model", "tiny")
    plain = vectors(embed(served, texts))
    assert not np.array_equal(plain, expected), "the task had no effect"


def test_prompts_by_name_and_by_text(served: Served) -> None:
    texts = some_texts(3)
    inputs = [text(each) for each in texts]
    for fields, options in (
        ({"prompt_name": "Reranking"}, pb.EmbedOptions(prompt_name="Reranking")),
        ({"prompt": "ask: "}, pb.EmbedOptions(prompt_text="ask: ")),
        ({"prompt": ""}, pb.EmbedOptions(prompt_text="")),
    ):
        assert_bits(vectors(embed(served, texts, **fields)), batch(served, inputs, options))


@pytest.mark.parametrize("titles", [["Mars", "Venus"], ["Mars", None], ["", "Venus"], "Mars"])
@pytest.mark.parametrize("way", [{"input_type": "document"}, {"model": "tiny:document"}])
def test_titles_of_documents(served: Served, titles: Any, way: dict[str, str]) -> None:
    texts = some_texts(2)
    options = pb.EmbedOptions(task=pb.TASK_TYPE_RETRIEVAL_DOCUMENT)
    each_title = [titles] * 2 if isinstance(titles, str) else titles
    inputs = [text(a, title=b or "") for a, b in zip(texts, each_title, strict=True)]
    found = vectors(embed(served, texts, title=titles, **way))
    assert_bits(found, batch(served, inputs, options))


@pytest.mark.parametrize("truncation", ["end", "start"])
def test_truncation_where_it_is_asked_for(served: Served, truncation: str) -> None:
    texts = ["first " + "word " * 3000 + "last", "short"]
    options = pb.EmbedOptions(truncation=f"TRUNCATION_{truncation.upper()}")
    found = embed(served, texts, truncation=truncation)
    assert_bits(vectors(found), batch(served, [text(each) for each in texts], options))


def test_token_ids_are_the_texts_without_special_tokens(served: Served) -> None:
    texts = some_texts(4)
    ids = [
        list(served.embedding.Tokenize(pb.TokenizeRequest(input=text(each))).ids)[1:-1]
        for each in texts
    ]
    kept = [each for each in ids if each]
    inputs = [pb.EmbedInput(tokens=pb.TokenIds(ids=each)) for each in kept]
    options = pb.EmbedOptions(task=pb.TASK_TYPE_RETRIEVAL_QUERY)
    expected = batch(served, inputs, options)
    assert_bits(vectors(embed(served, kept, task="retrieval_query")), expected)
    assert_bits(vectors(embed(served, kept[0], task="retrieval_query")), expected[:1])
    plain = batch(served, [text(texts[ids.index(kept[0])])], pb.EmbedOptions())
    assert_bits(vectors(embed(served, kept[0])), plain)


def test_a_server_with_a_default_task_and_size(tiny_checkpoint: Path) -> None:
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", default_task="retrieval_document"
    ) as server:
        expected = batch(server, [text("a", title="t")], pb.EmbedOptions())
        assert_bits(vectors(embed(server, ["a"], title="t")), expected)
        no_prompt = batch(server, [text("a")], pb.EmbedOptions(prompt_text=""))
        assert_bits(vectors(embed(server, "a", prompt="")), no_prompt)
