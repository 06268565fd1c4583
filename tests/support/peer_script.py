"""What a script of a client of another server is given, and what it prints.

A script runs without the server's packages, so this module imports the standard library alone.

GIVEN: `http` and `grpc` are the addresses of a server, `guarded_http` and `guarded_grpc` those of one that
wants `token`, `full_http` and `full_grpc` those of one that is overloaded; `model` is the id on the OpenAI
route, `queries` and `documents` are two texts each, `dimensions` a number below the full size, `long_text`
a text that is longer than the model's window, `folder` the folder of the set.
"""

import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

GIVEN = SimpleNamespace(**json.loads(sys.argv[1]))
QUERY, DOCUMENT, RAW = "query", "document", "raw"
"""What vectors are of: texts with the prompt of queries, of documents, or with none."""

_vectors: list[dict[str, Any]] = []
_errors: dict[str, dict[str, str]] = {}


def vectors(label: str, kind: str, found: Any) -> None:
    """Notes the vectors of both queries or both documents; RAW are the queries without a prompt."""
    rows = [[float(value) for value in row] for row in found]
    _vectors.append({"label": label, "kind": kind, "rows": rows})


def error(label: str, call: Callable[[], Any]) -> None:
    """Notes the type of the error that a call raises, and its message."""
    try:
        call()
    except Exception as raised:
        kind = type(raised)
        code = getattr(raised, "code", None)
        name = f"grpc {code().name}" if callable(code) else f"{kind.__module__}.{kind.__name__}"
        _errors[label] = {"type": name, "message": str(raised)}
    else:
        raise AssertionError(f"{label}: no error")


def finish() -> None:
    """Prints all that was noted."""
    print()
    print(json.dumps({"vectors": _vectors, "errors": _errors}))
