"""The OpenAPI document of what the front serves: its APIs and health."""

from collections.abc import Iterable, Mapping
from typing import Any

from gemwire_server import __version__
from gemwire_server.fronts.http.health import TEI_PATHS

# The 2020-12 dialect of JSON Schema needs 3.1.
OPENAPI = "3.1.1"
BEARER = "bearer"
SERVES = {
    "200": "They are.",
    "503": "The server starts or stops, or its engine is being restarted.",
}
BESIDE_APIS = {
    "/healthz": ("Is the process alive?", "text/plain", {"200": "It is."}),
    "/readyz": ("Are calls answered?", "text/plain", SERVES),
    **{
        path: ("Are calls answered? As TEI says it", "application/json", SERVES)
        for path in TEI_PATHS
    },
    "/openapi.json": ("This document", "application/json", {"200": "The document."}),
    "/docs": ("This document, for people", "text/html", {"200": "The page."}),
}
"""What needs no token: path → summary, type of the answer, and statuses."""


def build_document(
    parts: Iterable[Mapping[str, Any]], model: str, *, with_tokens: bool
) -> dict[str, Any]:
    """The document; `parts` are those of the APIs, and `with_tokens` says that their calls need a token.

    Raises ValueError for an operation or schema that two parts describe.
    """
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for part in [*parts, {"paths": _beside_apis(), "schemas": {}}]:
        for path, operations in part["paths"].items():
            _add(paths.setdefault(path, {}), operations, path)
        _add(schemas, part["schemas"], "schemas")
    document: dict[str, Any] = {
        "openapi": OPENAPI,
        "info": {
            "title": "gemwire",
            "version": __version__,
            "description": f"Embeddings of {model} over HTTP.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if with_tokens:
        document["components"]["securitySchemes"] = {BEARER: {"type": "http", "scheme": "bearer"}}
        document["security"] = [{BEARER: []}]
    return document


def _add(found: dict[str, Any], more: Mapping[str, Any], where: str) -> None:
    if twice := found.keys() & more.keys():
        raise ValueError(f"described twice: {', '.join(sorted(twice))} of {where}")
    found.update(more)


def _beside_apis() -> dict[str, Any]:
    return {
        path: {
            "get": {
                "tags": ["Server"],
                "summary": summary,
                "security": [],
                "responses": {
                    status: {"description": text, "content": {media_type: {}}}
                    for status, text in statuses.items()
                },
            }
        }
        for path, (summary, media_type, statuses) in BESIDE_APIS.items()
    }
