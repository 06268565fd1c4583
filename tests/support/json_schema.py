"""A small validator of JSON Schema 2020-12: the keywords that the server's OpenAPI document uses.

A keyword that it does not know is an error, so that no part of a schema is left unchecked.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}
ANNOTATIONS = {"title", "description", "examples", "default", "deprecated", "format"}


def problems(value: Any, schema: Schema, document: Any, where: str = "$") -> Iterator[str]:
    """What is wrong with a value; nothing if it is valid. `document` is what `$ref`s point into."""
    for keyword, rule in schema.items():
        if keyword not in ANNOTATIONS:
            check = CHECKS[keyword]
            yield from check(value, rule, schema, document, where)


def resolve(reference: str, document: Any) -> Any:
    """The part of the document that "#/a/b" names. Raises KeyError where there is none."""
    assert reference.startswith("#/"), reference
    found = document
    for name in reference[2:].split("/"):
        found = found[name.replace("~1", "/").replace("~0", "~")]
    return found


def _type(value: Any, rule: Any, *rest: Any) -> Iterator[str]:
    names = [rule] if isinstance(rule, str) else rule
    of_name = [name for name in names if isinstance(value, TYPES[name])]
    if isinstance(value, bool):
        of_name = [name for name in of_name if name == "boolean"]
    if not of_name:
        yield f"{rest[2]}: {type(value).__name__} is not {rule}"


def _properties(value: Any, rule: Any, schema: Schema, document: Any, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, of_property in rule.items():
            if name in value:
                yield from problems(value[name], of_property, document, f"{where}.{name}")


def _additional(value: Any, rule: Any, schema: Schema, document: Any, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name in value.keys() - schema.get("properties", {}).keys():
            if isinstance(rule, bool):
                if not rule:
                    yield f"{where}: {name} is not allowed"
            else:
                yield from problems(value[name], rule, document, f"{where}.{name}")


def _items(value: Any, rule: Any, schema: Schema, document: Any, where: str) -> Iterator[str]:
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from problems(item, rule, document, f"{where}[{i}]")


def _any_of(value: Any, rule: Any, schema: Schema, document: Any, where: str) -> Iterator[str]:
    found = [list(problems(value, each, document, where)) for each in rule]
    if all(found):
        yield f"{where}: none of {len(rule)} fits: {found}"


def _one_of(value: Any, rule: Any, schema: Schema, document: Any, where: str) -> Iterator[str]:
    fit = sum(not list(problems(value, each, document, where)) for each in rule)
    if fit != 1:
        yield f"{where}: {fit} of {len(rule)} fit"


def _ref(value: Any, rule: Any, schema: Schema, document: Any, where: str) -> Iterator[str]:
    yield from problems(value, resolve(rule, document), document, where)


def _encoding(value: Any, rule: Any, schema: Schema, document: Any, where: str) -> Iterator[str]:
    assert rule == "base64"
    try:
        if isinstance(value, str):
            base64.b64decode(value, validate=True)
    except ValueError:
        yield f"{where}: not base64"


def _simple(fits: Any, *kinds: type) -> Any:
    """The check of a keyword that concerns values of some types; of all types if none is given."""

    def check(value: Any, rule: Any, schema: Schema, document: Any, where: str) -> Iterator[str]:
        if (not kinds or isinstance(value, kinds)) and not fits(value, rule):
            yield f"{where}: against {rule}"

    return check


CHECKS: Mapping[str, Any] = {
    "$ref": _ref,
    "additionalProperties": _additional,
    "anyOf": _any_of,
    "const": _simple(lambda value, rule: value == rule and type(value) is type(rule)),
    "contentEncoding": _encoding,
    "enum": _simple(lambda value, rule: (type(value), value) in [(type(one), one) for one in rule]),
    "items": _items,
    "maxItems": _simple(lambda value, rule: len(value) <= rule, list),
    "maximum": _simple(lambda value, rule: value <= rule, int, float),
    "minItems": _simple(lambda value, rule: len(value) >= rule, list),
    "minLength": _simple(lambda value, rule: len(value) >= rule, str),
    "minimum": _simple(lambda value, rule: value >= rule, int, float),
    "oneOf": _one_of,
    "properties": _properties,
    "required": _simple(lambda value, rule: set(rule) <= value.keys(), dict),
    "type": _type,
}
