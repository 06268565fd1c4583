"""GET /v1/models over a real socket, and the names that requests may give a model."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from gemwire_server.fronts.http.openai.models import CREATED
from gemwire_server.fronts.http.openai.names import ModelNames
from gemwire_server.text.prompts import TASKS
from support.harness import Served, running
from support.json_http import request


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), http_address="127.0.0.1:0") as server:
        yield server


def test_every_listed_name_embeds_and_can_be_looked_at(served: Served) -> None:
    answer = request(served.http_address, "/v1/models")
    assert answer.status == 200 and answer.json["object"] == "list"
    models = answer.json["data"]
    ids = [each["id"] for each in models]
    suffixes = ["query", "document", *TASKS]
    assert ids == ["tiny-embed", *(f"tiny-embed:{suffix}" for suffix in suffixes)]
    for model in models:
        # n8n offers no other models.
        assert "embed" in model["id"]
        assert model["object"] == "model" and model["created"] == CREATED
        found = request(served.http_address, f"/v1/models/{quote(model['id'], safe='')}")
        assert found.status == 200 and found.json == model
        body = {"input": "a", "model": model["id"]}
        assert request(served.http_address, "/v1/embeddings", body).json["model"] == model["id"]


@pytest.mark.parametrize("name", ["tiny", "tiny:query", "models%2Ftiny-embed", "models/tiny"])
def test_accepted_names_that_are_not_listed(served: Served, name: str) -> None:
    assert request(served.http_address, f"/v1/models/{name}").status == 200


@pytest.mark.parametrize("name", ["gpt", "a/b:query", "a%2Fb", "tiny:other", "%ff", ""])
def test_another_model_is_not_found(served: Served, name: str) -> None:
    answer = request(served.http_address, f"/v1/models/{name}")
    error = answer.json["error"]
    assert answer.status == 404
    assert (error["type"], error["code"]) == ("invalid_request_error", "model_not_found")


def test_the_names_of_a_hub_id() -> None:
    names = ModelNames("google/embeddinggemma-300m")
    assert names.ids[:2] == ("google/embeddinggemma-300m", "google/embeddinggemma-300m:query")
    for name in ("google/embeddinggemma-300m", "embeddinggemma-300m"):
        assert names.task_of(name) == "" and names.task_of(f"{name}:query") == "retrieval_query"


def test_a_name_that_ends_like_a_suffix_is_itself() -> None:
    names = ModelNames("embed:query")
    assert names.task_of("embed:query") == ""
    assert names.task_of("embed:query:clustering") == "clustering"
