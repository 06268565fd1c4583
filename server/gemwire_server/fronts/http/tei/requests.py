"""Reads the bodies of requests into the dialect's plain values.

Fields that TEI lacks are ignored, and null is no value where TEI takes it for none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gemwire_server.dialects.tei.embedding import Text
from gemwire_server.dialects.tei.errors import Refused, empty
from gemwire_server.dialects.tei.requests import TextOptions
from gemwire_server.fronts.http.bodies import read_json
from gemwire_server.fronts.http.tei.errors import wrong_type

Body = Mapping[str, Any]

# TEI's numbers have 32 bits.
UINT_LIMIT = 1 << 32
SIDES = {"right": False, "left": True, "Right": False, "Left": True}


def read_object(raw: bytes, max_values: int) -> Body:
    """The object in a body. Raises InvalidInput for anything else."""
    value = read_json(raw, max_values)
    if not isinstance(value, dict):
        raise wrong_type("body", "an object")
    return value


def read_options(body: Body, *, of_vectors: bool) -> TextOptions:
    """The options of a request; with `of_vectors` also those that vectors have."""
    truncate = body.get("truncate")
    return TextOptions(
        # TEI's own default over HTTP.
        truncate=True if truncate is None else read_flag(body, "truncate", True),
        truncate_left=_read_side(body.get("truncation_direction", "right")),
        prompt_name=read_name(body, "prompt_name"),
        normalize=read_flag(body, "normalize", True) if of_vectors else True,
        dimensions=_read_dimensions(body.get("dimensions")) if of_vectors else None,
    )


def _read_side(value: Any) -> bool:
    if not isinstance(value, str) or value not in SIDES:
        raise wrong_type("truncation_direction", "left or right")
    return SIDES[value]


def _read_dimensions(value: Any) -> int | None:
    if value is None:
        return None
    if not _is_uint(value):
        raise wrong_type("dimensions", "a number of 32 bits that is not negative")
    assert isinstance(value, int)
    return value


def read_flag(body: Body, name: str, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise wrong_type(name, "true or false")
    return value


def read_name(body: Body, name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong_type(name, "a string")
    return value


def read_inputs(value: Any, limit: int) -> list[Text]:
    """One text, which may be an array of token ids, or a batch of up to `limit`."""
    if isinstance(value, str):
        return [value]
    expected = "a string, an array of token ids, or an array of those"
    if not isinstance(value, list):
        raise wrong_type("inputs", expected)
    if not value:
        raise empty("inputs")
    if _is_uint(value[0]):
        return [_read_ids(value, "inputs", expected)]
    check_batch(len(value), limit)
    return [
        item if isinstance(item, str) else _read_ids(item, "inputs", expected) for item in value
    ]


def read_texts(value: Any, limit: int) -> list[str]:
    """One text, or a batch of up to `limit`."""
    if isinstance(value, str):
        return [value]
    if not is_texts(value):
        raise wrong_type("inputs", "a string or an array of strings")
    assert isinstance(value, list)
    if not value:
        raise empty("inputs")
    check_batch(len(value), limit)
    return value


def read_id_batches(value: Any, limit: int) -> list[Sequence[int]]:
    """The ids of one text, or of a batch of up to `limit`."""
    expected = "an array of token ids, or an array of those"
    if not isinstance(value, list):
        raise wrong_type("ids", expected)
    if not value:
        raise empty("ids")
    if not isinstance(value[0], list):
        return [_read_ids(value, "ids", expected)]
    check_batch(len(value), limit)
    return [_read_ids(item, "ids", expected) for item in value]


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def check_batch(count: int, limit: int) -> None:
    """Raises Refused for more texts than a request may have."""
    if count > limit:
        raise Refused(
            "TOO_MANY_INPUTS",
            f"batch size {count} > maximum allowed batch size {limit}",
            field="inputs",
            count=count,
            limit=limit,
        )


def _read_ids(value: Any, field: str, expected: str) -> list[int]:
    if not isinstance(value, list) or not all(map(_is_uint, value)):
        raise wrong_type(field, expected)
    return value


def _is_uint(value: Any) -> bool:
    return type(value) is int and 0 <= value < UINT_LIMIT
