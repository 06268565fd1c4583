"""Parts of the OpenAPI document that every API has."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

NO_ROOM = (
    "The server has no room now, and Retry-After says when to come back; or a quota is used up."
)
OTHER = "Another error, such as 503 of a server that stops."


def ref(name: str) -> Schema:
    """The schema of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_content(schema: Schema) -> Schema:
    """A body of JSON."""
    return {"content": {"application/json": {"schema": schema}}}


def errors(texts: Mapping[str, str], schema: Schema) -> dict[str, Schema]:
    """The responses that are errors, by status, whose bodies have this schema; `texts` say what each
    means, but those that every API has."""
    responses = {
        status: {"description": text, **json_content(schema)}
        for status, text in {**texts, "429": NO_ROOM, "default": OTHER}.items()
    }
    responses["429"]["headers"] = {
        "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
    }
    return responses
