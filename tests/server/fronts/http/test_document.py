"""The OpenAPI document has the form of OpenAPI, has all that is served, and the answers keep to it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gemwire_server.fronts.http.api import APIS
from gemwire_server.fronts.http.document import BESIDE_APIS, build_document
from gemwire_server.security.tokens import make
from support.harness import Served, running
from support.json_http import Answer, request
from support.json_schema import ANNOTATIONS, CHECKS, problems, resolve
from support.token_files import write

VERBS = {"get", "post", "put", "delete", "patch", "head", "options"}
SCHEMAS_IN = ("items", "additionalProperties")
STATUSES = {"default", "2XX", "3XX", "4XX", "5XX", *map(str, range(200, 600))}


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), http_address="127.0.0.1:0", http_token_ids=True) as server:
        yield server


@pytest.fixture(scope="module")
def document(served: Served) -> Any:
    answer = request(served.http_address, "/openapi.json")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    return answer.json


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            yield path, verb, operation


def test_its_form(document: Any) -> None:
    assert document.keys() == {"openapi", "info", "paths", "components"}
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == "gemwire" and document["info"]["version"]
    ids = [each["operationId"] for _, _, each in operations(document) if "operationId" in each]
    assert len(ids) == len(set(ids))
    for path, verb, operation in operations(document):
        where = f"{verb} {path}"
        assert path.startswith("/") and verb in VERBS, where
        known = "tags summary description operationId parameters requestBody responses security"
        assert operation.keys() <= set(known.split()), where
        in_path = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        parameters = [each for each in operation.get("parameters", ()) if each["in"] == "path"]
        assert [each["name"] for each in parameters] == in_path, where
        assert all(each["required"] is True and each["schema"] for each in parameters), where
        if "requestBody" in operation:
            assert operation["requestBody"]["content"], where
        assert operation["responses"] and operation["responses"].keys() <= STATUSES, where
        for response in operation["responses"].values():
            assert response["description"], where
            assert response.keys() <= {"description", "headers", "content"}, where


def test_its_schemas(document: Any) -> None:
    """Every reference has its target, and every keyword is one that the validator knows."""
    named = document["components"]["schemas"]
    for path, verb, operation in operations(document):
        for content in contents(operation):
            for media_type, media in content.items():
                assert "/" in media_type and media.keys() <= {"schema", "example"}
                check_schema(media.get("schema", {}), document, f"{verb} {path}")
    for name, schema in named.items():
        assert name.isidentifier()
        check_schema(schema, document, name)
        for example in schema.get("examples", ()):
            assert not list(problems(example, schema, document))


def contents(operation: Any) -> Iterator[Any]:
    yield operation.get("requestBody", {}).get("content", {})
    for response in operation["responses"].values():
        yield response.get("content", {})


def check_schema(schema: Any, document: Any, where: str) -> None:
    assert schema.keys() <= CHECKS.keys() | ANNOTATIONS, where
    if "$ref" in schema:
        assert schema["$ref"].startswith("#/components/schemas/")
        resolve(schema["$ref"], document)
    parts = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    parts += [*schema.get("oneOf", ())]
    parts += [schema[name] for name in SCHEMAS_IN if isinstance(schema.get(name), dict)]
    for part in parts:
        check_schema(part, document, where)


def test_it_has_every_path_that_is_served(document: Any) -> None:
    of_apis = {
        (path.replace(":path}", "}"), method.verb.lower())
        for api in APIS
        for method in api.methods
        for path in method.paths
    }
    beside = {(path, "get") for path in BESIDE_APIS}
    assert {(path, verb) for path, verb, _ in operations(document)} == of_apis | beside


def filled(path: str, operation: Any) -> str:
    for parameter in operation.get("parameters", ()):
        path = path.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
    return path


def example(operation: Any, document: Any) -> Any:
    body = operation.get("requestBody")
    if body is None:
        return None
    schema = body["content"]["application/json"]["schema"]
    named = resolve(schema["$ref"], document) if "$ref" in schema else schema
    return named["examples"][0]


def check_answer(answer: Answer, operation: Any, document: Any) -> None:
    """The status, the media type and the value are what the document says of them."""
    responses = operation["responses"]
    response = responses.get(str(answer.status)) or responses["default"]
    media_type = answer.headers["content-type"].partition(";")[0]
    media = response["content"][media_type]
    if "schema" in media:
        assert not list(problems(answer.json, media["schema"], document))


def test_answers_are_as_it_says(served: Served, document: Any) -> None:
    for path, verb, operation in operations(document):
        target, body = filled(path, operation), example(operation, document)
        answer = request(served.http_address, target, body, verb=verb.upper())
        assert str(answer.status) in operation["responses"], (path, answer.raw)
        check_answer(answer, operation, document)
        if body is None:
            continue
        for wrong in (b"", b"{", b"[]", b"{}", b'{"input": 5}', b'{"input": "a", "model": "b"}'):
            answer = request(served.http_address, target, wrong, verb=verb.upper())
            assert 400 <= answer.status < 500
            check_answer(answer, operation, document)


def test_tokens_are_in_it_where_calls_need_them(tiny_checkpoint: Path, tmp_path: Path) -> None:
    _, line = make("somebody")
    write(tmp_path / "tokens", line)
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", tokens_file=str(tmp_path / "tokens")
    ) as server:
        document = request(server.http_address, "/openapi.json").json
        (scheme,) = document["components"]["securitySchemes"]
        assert document["components"]["securitySchemes"][scheme]["scheme"] == "bearer"
        assert document["security"] == [{scheme: []}]
        for path, verb, operation in operations(document):
            body = example(operation, document)
            answer = request(server.http_address, filled(path, operation), body, verb=verb.upper())
            assert (answer.status == 401) == ("security" not in operation), path
            check_answer(answer, operation, document)


def test_two_parts_do_not_describe_one_thing() -> None:
    part: dict[str, Any] = {"paths": {"/a": {"get": {}}}, "schemas": {}}
    with pytest.raises(ValueError, match="/a"):
        build_document([part, part], "m", with_tokens=False)
