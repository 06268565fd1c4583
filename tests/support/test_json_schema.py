"""The validator against cases whose outcome the specification gives."""

import json
from typing import Any

import pytest

from support.json_schema import problems

DOCUMENT = {"components": {"schemas": {"A": {"type": "string", "minLength": 2}}}}

CASES: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    ({"type": "integer"}, [1, -1], [True, "1", None, 1.5]),
    ({"type": "number"}, [1, 1.5], [True, "1"]),
    ({"type": ["string", "null"]}, ["", None], [0, False, []]),
    ({"type": "boolean"}, [True], [1, "true"]),
    ({"$ref": "#/components/schemas/A"}, ["ab"], ["a", 5]),
    ({"enum": [1, None]}, [1, None], [True, 0, "1"]),
    ({"const": "list"}, ["list"], ["lists", None]),
    ({"minimum": 0, "maximum": 3}, [0, 3, "x"], [-1, 4]),
    ({"minItems": 1, "maxItems": 2}, [[1], [1, 2], "x"], [[], [1, 2, 3]]),
    ({"items": {"type": "string"}}, [[], ["a"], 5], [["a", 5]]),
    ({"required": ["a"]}, [{"a": None}, 5], [{}, {"b": 1}]),
    ({"properties": {"a": {"type": "string"}}}, [{}, {"a": "b"}, {"c": 1}], [{"a": 1}]),
    ({"properties": {"a": {}}, "additionalProperties": False}, [{"a": 1}], [{"b": 1}]),
    ({"additionalProperties": {"type": "string"}}, [{"b": "c"}], [{"b": 1}]),
    ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, ["a", 3], [2]),
    ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, [2, 3.5], [3, 2.5]),
    ({"contentEncoding": "base64"}, ["AAAA"], ["AAA", "A!AA"]),
]


@pytest.mark.parametrize(
    ("schema", "valid", "wrong"), CASES, ids=lambda each: json.dumps(each)[:40]
)
def test_every_keyword(schema: dict[str, Any], valid: list[Any], wrong: list[Any]) -> None:
    for value in valid:
        assert not list(problems(value, schema, DOCUMENT)), value
    for value in wrong:
        assert list(problems(value, schema, DOCUMENT)), value


def test_an_unknown_keyword_is_an_error() -> None:
    with pytest.raises(KeyError):
        list(problems(1, {"multipleOf": 2}, DOCUMENT))
