"""/embed, /embed_all and /similarity, against tei.v1 over gRPC."""

from typing import Any

import numpy as np
import pytest

from gemwire_compat import tei_pb2 as pb
from support.harness import Served
from support.json_http import Answer, request
from support.tei import Tei

QUESTION = "Which planet is known as the Red Planet?"
TEXTS = [QUESTION, "Mars, the red one.", "é 🙂 ͸", " "]
HEADERS = [
    f"x-{name}"
    for name in (
        "compute-type",
        "compute-time",
        "compute-characters",
        "compute-tokens",
        "total-time",
        "tokenization-time",
        "queue-time",
        "inference-time",
    )
]


def embed(served: Served, inputs: Any, path: str = "/embed", /, **fields: Any) -> Any:
    answer = request(served.http_address, path, {"inputs": inputs, **fields})
    assert answer.status == 200, answer.raw
    return answer.json


def same(found: Any, expected: Any) -> None:
    """Equal float32 numbers: the digits of an answer give the same bits again."""
    np.testing.assert_array_equal(np.array(found, np.float32), expected)


@pytest.mark.parametrize("path", ["/embed", "/", "/invocations"])
def test_one_text_or_many(served: Served, tei: Tei, path: str) -> None:
    expected = [tei.vector(text) for text in TEXTS]
    same(embed(served, TEXTS[0], path), expected[:1])
    same(embed(served, TEXTS, path), expected)
    same(embed(served, TEXTS, path, unknown={"ignored": True}), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"prompt_name": "query"},
        {"dimensions": 5},
        {"normalize": False},
        {"normalize": False, "dimensions": 7},
        {"normalize": True, "prompt_name": None, "dimensions": None},
    ],
)
def test_options(served: Served, tei: Tei, options: dict[str, Any]) -> None:
    same(embed(served, TEXTS, **options), [tei.vector(text, **options) for text in TEXTS])


def test_texts_are_cut_unless_the_request_forbids_it(served: Served, tei: Tei) -> None:
    long = " ".join(f"word{i % 7}" for i in range(3000))
    right, left = pb.TRUNCATION_DIRECTION_RIGHT, pb.TRUNCATION_DIRECTION_LEFT
    cases: dict[tuple[tuple[str, Any], ...], pb.TruncationDirection] = {
        (): right,
        (("truncate", None),): right,
        (("truncate", True), ("truncation_direction", "right")): right,
        (("truncation_direction", "Right"),): right,
        (("truncation_direction", "left"), ("prompt_name", "query")): left,
        (("truncation_direction", "Left"),): left,
    }
    for options, side in cases.items():
        expected = tei.vector(long, truncate=True, truncation_direction=side)
        same(embed(served, long, **dict(options)), [expected])
    answer = request(served.http_address, "/embed", {"inputs": long, "truncate": False})
    assert answer.status == 413 and answer.json["error_type"] == "Validation"


def test_token_ids_in_place_of_texts(served: Served, tei: Tei) -> None:
    def ids(text: str) -> list[int]:
        return [token.id for token in tei.Tokenize(pb.EncodeRequest(inputs=text)).tokens]

    same(embed(served, ids(QUESTION)), [tei.vector(QUESTION)])
    mixed = [ids(QUESTION), "a", ids("Mars")]
    same(embed(served, mixed), [tei.vector(text) for text in (QUESTION, "a", "Mars")])
    expected = [tei.vector(QUESTION, prompt_name="query", dimensions=9)]
    same(embed(served, ids(QUESTION), prompt_name="query", dimensions=9), expected)
    same(embed(served, [10**6, *ids(QUESTION)]), [tei.vector(QUESTION)])
    twice = [2, *ids("Mars"), 1]
    same(embed(served, twice), [tei.vector("<bos>Mars<eos>")])


def check_headers(answer: Answer, characters: int, tokens: int) -> None:
    found = {name: answer.headers[name] for name in HEADERS}
    assert found.pop("x-compute-type") == "gpu+optimized"
    assert int(found["x-compute-characters"]) == characters
    assert int(found["x-compute-tokens"]) == tokens
    assert found["x-total-time"] == found["x-compute-time"]
    assert all(value.isdecimal() for value in found.values())


def test_headers(served: Served, tei: Tei) -> None:
    costs = [tei.Embed(pb.EmbedRequest(inputs=text)).metadata for text in TEXTS]
    characters = sum(cost.compute_chars for cost in costs)
    tokens = sum(cost.compute_tokens for cost in costs)
    for path in ("/embed", "/embed_all"):
        answer = request(served.http_address, path, {"inputs": TEXTS})
        check_headers(answer, characters, tokens)
    pair = {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}
    answer = request(served.http_address, "/similarity", {"inputs": pair})
    check_headers(answer, characters, tokens)
    for answer in (
        request(served.http_address, "/embed", {"inputs": []}),
        request(served.http_address, "/tokenize", {"inputs": "a"}),
        request(served.http_address, "/info"),
    ):
        assert not [name for name in answer.headers if name.startswith("x-compute")]


def test_rows_of_tokens(served: Served, tei: Tei) -> None:
    found = embed(served, TEXTS, "/embed_all", prompt_name="query")
    for rows, text in zip(found, TEXTS, strict=True):
        answer = tei.EmbedAll(pb.EmbedAllRequest(inputs=text, prompt_name="query"))
        same(rows, [row.embeddings for row in answer.token_embeddings])


@pytest.mark.parametrize("parameters", [{}, None, {"prompt_name": "STS", "truncate": None}])
def test_similarity(served: Served, tei: Tei, parameters: Any) -> None:
    pair = {"source_sentence": QUESTION, "sentences": TEXTS}
    answer = request(served.http_address, "/similarity", {"inputs": pair, "parameters": parameters})
    prompt = (parameters or {}).get("prompt_name")
    source = tei.vector(QUESTION, prompt_name=prompt)
    expected = [float(source @ tei.vector(text, prompt_name=prompt)) for text in TEXTS]
    np.testing.assert_allclose(answer.json, expected, atol=1e-6)
    assert answer.json[0] == pytest.approx(1.0, abs=1e-6)
