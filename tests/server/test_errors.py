"""Errors as plain fields: every type, and every field of it, comes back."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

import pytest

from gemwire_server.dialects.tei import errors as tei
from gemwire_server.errors import TYPES, GemwireError, from_fields, to_fields

VALUES: dict[str, Any] = {"reason": "A_REASON", "message": "a message"}
OF_TYPES: dict[Any, Any] = {str: "inputs[3].text", float: 2.25, float | None: 0.125}
METADATA = {"queued_tokens": 17, "name": "ä 'quoted' \"value\""}


IN_A_FRONT_ALONE = {tei.Refused, tei.Empty, tei.WrongModel}
"""Types that are raised above the service: no link and no engine carries them."""


def types(base: type[GemwireError] = GemwireError) -> Iterator[type[GemwireError]]:
    for kind in base.__subclasses__():
        if kind not in IN_A_FRONT_ALONE:
            yield kind
        yield from types(kind)


def example(kind: type[GemwireError]) -> GemwireError:
    """An error with every field set, each to another value than its default."""
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments |= METADATA
            continue
        value = VALUES.get(name, OF_TYPES.get(parameter.annotation))
        assert value is not None, f"no example for the field {name}: {parameter.annotation}"
        assert value != parameter.default
        arguments[name] = value
    return kind(**arguments)


def test_the_table_holds_every_type() -> None:
    assert {kind.__name__: kind for kind in types()} == TYPES
    assert len(TYPES) >= 8


@pytest.mark.parametrize("kind", list(types()), ids=lambda kind: kind.__name__)
def test_every_field_of_every_type_comes_back(kind: type[GemwireError]) -> None:
    error = example(kind)
    found = from_fields(json.loads(json.dumps(to_fields(error))))
    assert type(found) is kind
    assert vars(found) == vars(error)
    assert set(vars(error)) >= {"reason", "message", "metadata"}
    assert found.args == error.args and str(found) == str(error) == "a message"


@pytest.mark.parametrize("kind", list(types()), ids=lambda kind: kind.__name__)
def test_a_field_set_after_the_error_was_made_comes_back(kind: type[GemwireError]) -> None:
    error = example(kind)
    for name, value in vars(error).items():
        if isinstance(value, str):
            setattr(error, name, value + " and more")
        elif isinstance(value, float):
            setattr(error, name, value + 1.0)
    assert vars(from_fields(to_fields(error))) == vars(error)
