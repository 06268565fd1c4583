"""Statuses, types and messages of TEI's errors over HTTP."""

import threading
from pathlib import Path
from typing import Any

import pytest

from gemwire_server.errors import (
    EngineFailure,
    Expired,
    GemwireError,
    InvalidInput,
    Overloaded,
    QuotaExceeded,
    Stopped,
)
from gemwire_server.fronts.http.tei.errors import refusal
from gemwire_server.security.tokens import make
from support.harness import Served, running
from support.held_device import HeldDevice
from support.json_http import request
from support.token_files import write

INVALID = "Input validation error: "
EMPTY = f"{INVALID}`inputs` cannot be empty"
NO_IDS = f"{INVALID}`input_ids` cannot be empty"
NO_SENTENCES = "`inputs.sentences` cannot be empty"
ZERO = f"{INVALID}`dimensions` should be positive"
OVER = f"{INVALID}`dimensions` should be smaller than the maximum embedding dimension."
TOKENS = f"{INVALID}`inputs` must have less than 2048 tokens. Given: 2049"
CHARACTERS = f"{INVALID}`inputs` must have less than 512000 characters. Given: 512001"
BATCH = "batch size 9 > maximum allowed batch size 8"
CLASSIFIER = "Backend error: Model is not a classifier model"
SPARSE = "Backend error: Model is not an embedding model with SPLADE pooling"


def pair(source: str, count: int) -> dict[str, Any]:
    return {"source_sentence": source, "sentences": ["b"] * count}


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "message"),
    [
        ("/embed", {"inputs": []}, 400, "Empty", "`inputs` cannot be empty"),
        ("/embed", {"inputs": ""}, 413, "Validation", EMPTY),
        ("/embed", {"inputs": ["a", ""]}, 413, "Validation", EMPTY),
        ("/embed", {"inputs": [[1], []]}, 413, "Validation", EMPTY),
        ("/embed", {"inputs": ["a"] * 9}, 413, "Validation", BATCH),
        ("/embed", {"inputs": "a", "dimensions": 0}, 413, "Validation", ZERO),
        ("/embed", {"inputs": "a", "dimensions": 97}, 413, "Validation", OVER),
        ("/embed", {"inputs": "a" + " a" * 2046, "truncate": False}, 413, "Validation", TOKENS),
        ("/embed", {"inputs": "a" * 512001, "truncate": False}, 413, "Validation", CHARACTERS),
        ("/embed", {"inputs": [2**31]}, 413, "Validation", EMPTY),
        ("/embed_all", {"inputs": []}, 400, "Empty", "`inputs` cannot be empty"),
        ("/embed_sparse", {"inputs": "a"}, 424, "Backend", SPARSE),
        ("/predict", {"inputs": ["a"]}, 424, "Backend", CLASSIFIER),
        ("/rerank", {"query": "q", "texts": []}, 400, "Empty", "`texts` cannot be empty"),
        ("/rerank", {"query": "q", "texts": ["t"]}, 424, "Backend", "model is not a re-ranker model"),
        ("/similarity", {"inputs": pair("a", 0)}, 400, "Empty", NO_SENTENCES),
        ("/similarity", {"inputs": pair("a", 8)}, 413, "Validation", BATCH),
        ("/similarity", {"inputs": pair("", 1)}, 413, "Validation", EMPTY),
        ("/tokenize", {"inputs": []}, 400, "Empty", "`inputs` cannot be empty"),
        ("/tokenize", {"inputs": [""]}, 413, "Validation", EMPTY),
        ("/decode", {"ids": []}, 400, "Empty", "`ids` cannot be empty"),
        ("/decode", {"ids": [[]]}, 413, "Validation", NO_IDS),
    ],
)  # fmt: skip
def test_refusals(
    served: Served, path: str, body: Any, status: int, kind: str, message: str
) -> None:
    answer = request(served.http_address, path, body)
    assert answer.status == status
    assert answer.json == {"error": message, "error_type": kind}


def test_a_prompt_that_the_model_does_not_have(served: Served) -> None:
    answer = request(served.http_address, "/embed", {"inputs": "a", "prompt_name": "nope"})
    assert answer.status == 413
    assert answer.json["error"].startswith(
        f"{INVALID}`default-prompt-name` is set to `nope` but it was not found in the Sentence "
        'Transformers prompts. Available prompts: ["BitextMining", '
    )


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/embed", []),
        ("/embed", {}),
        ("/embed", {"inputs": None}),
        ("/embed", {"inputs": 5}),
        ("/embed", {"inputs": [-1]}),
        ("/embed", {"inputs": [1, "a"]}),
        ("/embed", {"inputs": ["a", 1]}),
        ("/embed", {"inputs": [[1.5]]}),
        ("/embed", {"inputs": [True]}),
        ("/embed", {"inputs": "a", "truncate": "yes"}),
        ("/embed", {"inputs": "a", "truncation_direction": "LEFT"}),
        ("/embed", {"inputs": "a", "truncation_direction": None}),
        ("/embed", {"inputs": "a", "normalize": None}),
        ("/embed", {"inputs": "a", "dimensions": -1}),
        ("/embed", {"inputs": "a", "dimensions": 2**32}),
        ("/embed", {"inputs": "a", "dimensions": True}),
        ("/embed", {"inputs": "a", "prompt_name": 3}),
        ("/embed_all", {"inputs": {"a": 1}}),
        ("/similarity", {"inputs": "a"}),
        ("/similarity", {"inputs": {"sentences": ["a"]}}),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": "b"}}),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}, "parameters": 5}),
        ("/tokenize", {"inputs": [[1]]}),
        ("/tokenize", {"inputs": "a", "add_special_tokens": 1}),
        ("/decode", {"ids": "a"}),
        ("/decode", {"ids": [1, [2]]}),
        ("/predict", {}),
        ("/embed_sparse", {}),
        ("/rerank", {"texts": ["a"]}),
        ("/rerank", {"query": "a", "texts": "b"}),
    ],
)
def test_wrong_types(served: Served, path: str, body: Any) -> None:
    answer = request(served.http_address, path, body)
    assert answer.status == 422, answer.raw
    assert answer.json["error"] and answer.json["error_type"] == "Validation"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"inputs": NaN}', b'{"inputs": "\xff"}', b"null null"]
)
def test_what_is_not_json(served: Served, raw: bytes) -> None:
    answer = request(served.http_address, "/embed", raw)
    assert (answer.status, answer.json["error_type"]) == (400, "Validation")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type(served: Served, content_type: str) -> None:
    answer = request(
        served.http_address, "/embed", {"inputs": "a"}, headers={"content-type": content_type}
    )
    assert answer.status == 415 and answer.json["error_type"] == "Validation"


def test_more_texts_than_an_answer_holds(tiny_checkpoint: Path) -> None:
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", max_response_bytes=65536
    ) as served:
        answer = request(served.http_address, "/embed", {"inputs": ["a"] * 100})
        assert answer.status == 413 and "send at most 52 at once" in answer.json["error"]
        answer = request(served.http_address, "/embed", {"inputs": ["a"] * 52})
        assert answer.status == 200 and len(answer.raw) <= 65536


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/embed_all", {"inputs": "a 1" * 30}, "the states of "),
        ("/tokenize", {"inputs": ["a 1" * 300] * 2}, "the texts of the request have too many bytes"),
        ("/decode", {"ids": [[5] * 3000] * 3}, "the texts of the request have too many bytes"),
    ],
)  # fmt: skip
def test_an_answer_of_more_bytes_than_the_limit(
    tiny_checkpoint: Path, path: str, body: dict[str, Any], message: str
) -> None:
    options = {"http_address": "127.0.0.1:0", "max_response_bytes": 65536}
    with running(str(tiny_checkpoint), **options) as served:
        [(field, value)] = body.items()
        half = value[: len(value) // 2]
        answer = request(served.http_address, path, {field: half, "skip_special_tokens": False})
        assert answer.status == 200 and len(answer.raw) <= 65536
        answer = request(served.http_address, path, {field: value, "skip_special_tokens": False})
        assert (answer.status, answer.json["error_type"]) == (413, "Validation")
        assert answer.json["error"].startswith(INVALID + message)
        assert "--max-response-bytes" in answer.json["error"]


@pytest.mark.parametrize(
    ("error", "status", "kind", "message"),
    [
        (InvalidInput("BODY_TOO_LARGE", "m"), 413, "Validation", "m"),
        (InvalidInput("BODY_TIMEOUT", "m"), 408, "Validation", "m"),
        (InvalidInput("TOO_MANY_TOKENS", "m"), 413, "Validation", f"{INVALID}m"),
        (Overloaded("QUEUE_FULL", "m", retry_after=2.0), 429, "Overloaded", "Model is overloaded"),
        (QuotaExceeded("QUOTA", "m", subject="s"), 429, "Overloaded", "m"),
        (EngineFailure("POISON_INPUT", "m"), 424, "Backend", "Backend error: m"),
        (Stopped("DRAINING", "m"), 503, "Unhealthy", "m"),
        (Expired("DEADLINE_EXCEEDED", "m"), 504, "Overloaded", "m"),
    ],
)
def test_every_kind_of_error(error: GemwireError, status: int, kind: str, message: str) -> None:
    found, raw = refusal(error)
    assert found == status
    assert raw == f'{{"error":"{message}","error_type":"{kind}"}}'.encode()


def test_no_token(tiny_checkpoint: Path, tmp_path: Path) -> None:
    token, line = make("team")
    file = tmp_path / "tokens"
    write(file, line)
    with running(str(tiny_checkpoint), http_address="127.0.0.1:0", tokens_file=str(file)) as served:
        for path, body in (("/embed", {"inputs": "a"}), ("/info", None)):
            answer = request(served.http_address, path, body)
            assert (answer.status, answer.raw) == (401, b"")
            headers = {"authorization": f"Bearer {token}"}
            assert request(served.http_address, path, body, headers=headers).status == 200
        for path in ("/health", "/", "/ping"):
            assert request(served.http_address, path).status == 200


def test_an_overloaded_server_says_when_to_come_back(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldDevice(monkeypatch)
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", max_concurrent_calls=1, engine="thread"
    ) as served:
        held.hold()
        first: list[int] = []
        body = {"inputs": "a"}
        thread = threading.Thread(
            target=lambda: first.append(request(served.http_address, "/embed", body).status)
        )
        thread.start()
        held.wait_until_running()
        answer = request(served.http_address, "/embed", body)
        held.release()
        thread.join()
        assert first == [200] and answer.status == 429
        assert answer.json == {"error": "Model is overloaded", "error_type": "Overloaded"}
        assert int(answer.headers["retry-after"]) >= 1
