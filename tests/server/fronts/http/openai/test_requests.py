"""Requests that are refused: each names its field, quotes no text, and computes nothing."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.harness import Served, running
from support.json_http import request
from support.scrape import scrape

PATH = "/v1/embeddings"
SECRET = "a-secret-text"
SEED = random.SystemRandom().randrange(2**32)


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(
        str(tiny_checkpoint),
        http_address="127.0.0.1:0",
        metrics_address="127.0.0.1:0",
        max_inputs_per_request=50,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def served_with_ids(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), http_address="127.0.0.1:0", http_token_ids=True) as server:
        yield server


def refusal(served: Served, body: Any, status: int = 400) -> dict[str, Any]:
    answer = request(served.http_address, PATH, body)
    assert answer.status == status, answer.raw
    assert SECRET.encode() not in answer.raw
    assert list(answer.json) == ["error"]
    error: dict[str, Any] = answer.json["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["type"] == "invalid_request_error"
    return error


WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    # body, param, code, part of the message
    ({}, "input", "wrong_type", "input is missing"),
    ({"input": None}, "input", "wrong_type", "input is missing"),
    ({"input": 5}, "input", "wrong_type", "a string or an array"),
    ({"input": {"text": SECRET}}, "input", "wrong_type", "a string or an array"),
    ({"input": True}, "input", "wrong_type", "a string or an array"),
    ({"input": ""}, "input", "empty_text", "the text is empty"),
    ({"input": []}, "input", "empty_text", "empty array"),
    ({"input": [SECRET, ""]}, "input", "empty_text", "input[1]"),
    ({"input": [SECRET, 7]}, "input", "wrong_type", "input[1] must be a string"),
    ({"input": [SECRET, SECRET, None]}, "input", "wrong_type", "input[2] must be a string"),
    ({"input": [SECRET, [1]]}, "input", "wrong_type", "input[1] must be a string"),
    ({"input": [None]}, "input", "wrong_type", "input[0] must be a string"),
    ({"input": [True, 2]}, "input", "wrong_type", "input[0] must be a string"),
    ({"input": [1.5]}, "input", "wrong_type", "input[0] must be a string"),
    ({"input": ["a"] * 51}, "input", "too_many_inputs", "51 entries; the limit is 50"),
    ({"input": [5, 6]}, "input", "token_ids_refused", "check_embedding_ctx_length=False"),
    ({"input": [[5, 6], [7]]}, "input", "token_ids_refused", "--http-token-ids"),
    ({"input": "a", "model": 5}, "model", "wrong_type", "model must be a string"),
    ({"input": "a", "user": 5}, "user", "wrong_type", "user must be a string"),
    ({"input": "a", "dimensions": 5}, "dimensions", "unsupported_dimension", "96, 64, 32"),
    ({"input": "a", "dimensions": 0}, "dimensions", "unsupported_dimension", "positive integer"),
    ({"input": "a", "dimensions": -96}, "dimensions", "unsupported_dimension", "96, 64, 32"),
    ({"input": "a", "dimensions": True}, "dimensions", "unsupported_dimension", "integer"),
    ({"input": "a", "dimensions": 96.0}, "dimensions", "unsupported_dimension", "integer"),
    ({"input": "a", "dimensions": "96"}, "dimensions", "unsupported_dimension", "integer"),
    ({"input": "a", "dimensions": 2**64}, "dimensions", "unsupported_dimension", "integer"),
    ({"input": "a", "encoding_format": "int8"}, "encoding_format", "unknown_encoding_format", "base64"),
    ({"input": "a", "encoding_format": 5}, "encoding_format", "unknown_encoding_format", "base64"),
    ({"input": "a", "encoding_format": []}, "encoding_format", "unknown_encoding_format", "base64"),
    ({"input": "a", "truncation": True}, "truncation", "unknown_truncation", "error or end or start"),
    ({"input": "a", "task": SECRET}, "task", "unknown_task", "retrieval_query"),
    ({"input": "a", "task": ["query"]}, "task", "wrong_type", "task must be a string"),
    ({"input": "a", "input_type": SECRET}, "input_type", "unknown_task", "search_document"),
    ({"input": "a", "prompt_name": SECRET}, "prompt_name", "unknown_prompt", "the model has"),
    ({"input": "a", "prompt": "x" * 5000}, "prompt", "prompt_too_long", "prompt has 5000 characters"),
    ({"input": "a", "prompt": 1}, "prompt", "wrong_type", "prompt must be a string"),
    ({"input": "a", "task": "query", "prompt": ""}, "prompt", "conflicting_prompts", "task and prompt"),
    ({"input": "a", "model": "tiny:query", "task": "query"}, "model", "conflicting_prompts", "suffix"),
    ({"input": "a", "model": "tiny:query", "prompt": ""}, "model", "conflicting_prompts", "suffix"),
    ({"input": "a", "title": "t"}, "title", "title_without_document", "retrieval_document only"),
    (
        {"input": ["a", "b"], "title": ["", "t"], "task": "query"},
        "title",
        "title_without_document",
        "input[1]: a title goes with",
    ),
    ({"input": ["a", "b"], "title": ["t"]}, "title", "wrong_type", "an array of 2"),
    ({"input": "a", "title": 5}, "title", "wrong_type", "title must be"),
    (
        {"input": "a", "title": "secret" * 1000, "task": "document"},
        "title",
        "prompt_too_long",
        "title has 6000 characters",
    ),
    ({"input": ["a"], "title": [5]}, "title", "wrong_type", "title[0]"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "param", "code", "part"), WRONG, ids=lambda value: str(value)[:40]
)
def test_a_wrong_field_is_named(
    served: Served, body: dict[str, Any], param: str, code: str, part: str
) -> None:
    error = refusal(served, body)
    assert (error["param"], error["code"]) == (param, code)
    assert part in error["message"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"a"',
        b"null",
        b'{"input": NaN}',
        b'{"input": ["a", Infinity]}',
        b'{"input": "\xff"}',
        b'{"input": "\\ud800"}',
        b'{"input": "a"} x',
        b"{'input': 'a'}",
        b"[" * 60_000,
    ],
)
def test_what_is_no_object_of_json(served: Served, raw: bytes) -> None:
    error = refusal(served, raw)
    assert (error["param"], error["code"]) == (None, "malformed_message")


def test_a_body_of_too_many_values(served: Served) -> None:
    error = refusal(served, b'{"input": [' + b"5," * 200_000)
    assert error["code"] == "too_many_inputs" and "values" in error["message"]


def test_another_content_type(served: Served) -> None:
    """A web page can make a browser send such a body to a server that it could not reach itself."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        headers = {"content-type": kind}
        answer = request(served.http_address, PATH, {"input": "a"}, headers=headers)
        assert answer.status == 415
        assert answer.json["error"]["code"] == "unsupported_media_type"
    headers = {"content-type": "application/json; charset=utf-8"}
    assert request(served.http_address, PATH, {"input": "a"}, headers=headers).status == 200


@pytest.mark.parametrize(
    "model", [SECRET, "tiny:nothing", "tiny:", ":query", "tiny:query:query", "TINY", "models/", " "]
)
def test_another_model_is_not_found(served: Served, model: str) -> None:
    error = refusal(served, {"input": "a", "model": model}, status=404)
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert "tiny-embed" in error["message"] and ":query" in error["message"]


@pytest.mark.parametrize("words, unit", [(3000, "tokens"), (300_000, "characters")])
@pytest.mark.parametrize("place", [None, 1])
def test_a_text_over_the_window(served: Served, words: int, unit: str, place: int | None) -> None:
    """Frameworks find an exceeded window by these words or by this code."""
    text = f"{SECRET} " * words
    before = scrape(served.metrics_address).total("gemwire_engine_texts_accepted_total")
    error = refusal(served, {"input": text if place is None else ["a"] * place + [text]})
    assert (error["param"], error["code"]) == ("input", "context_length_exceeded")
    assert error["message"].startswith(
        "This model's maximum context length is 2048 tokens, however "
    )
    assert f" {unit}" in error["message"]
    assert ("(input with" if place is None else "(input[1] with") in error["message"]
    after = scrape(served.metrics_address).total("gemwire_engine_texts_accepted_total")
    assert after == before, "texts beside it were computed"


@pytest.mark.parametrize(
    "ids, code, part",
    [
        ([[]], "empty_text", "input[0]: the array is empty"),
        ([[5], []], "empty_text", "input[1]: the array is empty"),
        ([[5], "a"], "wrong_type", "input[1] must be an array of token ids"),
        ([[5], 5], "wrong_type", "input[1] must be an array of token ids"),
        ([5, "a"], "wrong_type", "input[1] must be an integer"),
        ([5, True], "wrong_type", "input[1] must be an integer"),
        ([5, [5]], "wrong_type", "input[1] must be an integer"),
        ([[5, 5.0]], "wrong_type", "input[0][1] must be an integer"),
        ([[5, None]], "wrong_type", "input[0][1] must be an integer"),
        ([[5], [-1]], "token_id_out_of_range", "input[1]: an id is out of range"),
        ([2**31], "token_id_out_of_range", "an id is out of range"),
        ([[2**63]], "token_id_out_of_range", "input[0]: an id is out of range"),
        ([2**64], "wrong_type", "input[0]"),
        ([5] * 3000, "context_length_exceeded", "however you requested 3000 tokens"),
    ],
)
def test_wrong_token_ids(served_with_ids: Served, ids: Any, code: str, part: str) -> None:
    error = refusal(served_with_ids, {"input": ids})
    assert (error["param"], error["code"]) == ("input", code)
    assert part in error["message"]


def test_damaged_requests_are_refused_or_answered(served: Served, served_with_ids: Served) -> None:
    """A value in a wrong place may be valid; it may never become a bug."""
    rng = random.Random(SEED)
    fields = ["input", "model", "dimensions", "encoding_format", "user", "title", "truncation"]
    fields += ["task", "prompt_name", "prompt", "input_type"]
    statuses = set()
    for _ in range(400):
        body: dict[str, Any] = {"input": rng.choice(["a", ["a", "b"], [5], [[5, 6]]])}
        for field in rng.choices(fields, k=rng.randint(1, 3)):
            body[field] = any_value(rng, 3)
        server = rng.choice([served, served_with_ids])
        answer = request(server.http_address, PATH, body)
        assert answer.status in (200, 400, 404), f"seed {SEED}: {body}"
        assert answer.json
        statuses.add(answer.status)
    assert statuses == {200, 400, 404}


def any_value(rng: random.Random, depth: int) -> Any:
    """A value of JSON."""
    match rng.randrange(8 if depth else 6):
        case 0:
            return rng.choice([None, True, False])
        case 1:
            return rng.choice([0, -1, 1, 32, 2**31, -(2**63), 2**63, 2**64, 10**400])
        case 2:
            return rng.choice([0.0, -0.5, 1e308, 5e-324, 64.0])
        case 3:
            return rng.choice(["", "a", "query", "base64", "end", "tiny", "tiny:query", "document"])
        case 4:
            return rng.choice(["\0", "\u200f", "\U0010ffff", "x" * 5000])
        case 5:
            return rng.choice([32, 96, None])
        case 6:
            return [any_value(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    return {str(i): any_value(rng, depth - 1) for i in range(rng.randint(0, 3))}


def test_as_many_token_ids_as_the_queue_takes(tiny_checkpoint: Path) -> None:
    """They are more values than bodies of texts may have."""
    with running(
        str(tiny_checkpoint),
        http_address="127.0.0.1:0",
        http_token_ids=True,
        max_queue_tokens=200_000,
    ) as server:
        ids = [[5] * 1800] * 100
        answer = request(server.http_address, PATH, {"input": ids, "encoding_format": "base64"})
        assert answer.status == 200 and answer.json["usage"]["prompt_tokens"] == 100 * 1802
        for count, param, code in (
            (120, "input", "request_too_large"),
            (300, None, "too_many_inputs"),
        ):
            error = refusal(server, {"input": [[5] * 1800] * count})
            assert (error["param"], error["code"]) == (param, code)


def test_an_answer_over_the_limit_is_refused_before_it_is_computed(tiny_checkpoint: Path) -> None:
    limit = 65536
    with running(
        str(tiny_checkpoint),
        http_address="127.0.0.1:0",
        metrics_address="127.0.0.1:0",
        max_response_bytes=limit,
    ) as server:
        largest: dict[str, int] = {}
        for form, advice in (
            ("float", "fewer dimensions or base64"),
            ("base64", "fewer dimensions"),
        ):
            body = {"input": ["a"] * 1000, "encoding_format": form}
            error = refusal(server, body)
            assert (error["param"], error["code"]) == ("input", "response_too_large")
            assert error["message"].endswith(f"ask for {advice}")
            assert scrape(server.metrics_address).total("gemwire_texts_total") == sum(
                largest.values()
            )
            most = int(error["message"].partition("send at most ")[2].partition(" ")[0])
            body["input"] = ["a"] * most
            answer = request(server.http_address, PATH, body)
            assert answer.status == 200 and limit * 0.8 < len(answer.raw) <= limit
            body["input"] = ["a"] * (most + 1)
            refusal(server, body)
            largest[form] = most
        assert largest["base64"] > 1.8 * largest["float"]
        assert json.loads(request(server.http_address, PATH, {"input": "a"}).raw)
