"""The servers of clients/conformance, and what a case says in the Python client's words."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from gemwire_client import (
    AccessDenied,
    DeadlineExceeded,
    Document,
    EngineFailure,
    GemwireError,
    InvalidInput,
    Model,
    NotFound,
    Overloaded,
    Unavailable,
)
from gemwire_conformance.cases import Case
from uninstalled import ROOT, environment

TYPES: dict[str, type[GemwireError]] = {
    kind.__name__: kind
    for kind in (
        AccessDenied,
        DeadlineExceeded,
        EngineFailure,
        InvalidInput,
        NotFound,
        Overloaded,
        Unavailable,
    )
}
TIMEOUT_SECONDS = 20.0
RUNS = itertools.count()


def harness(
    *arguments: str, stdin: int | None = None, stderr: int | None = None
) -> "subprocess.Popen[str]":
    """Starts gemwire_conformance with these arguments, as make clients does."""
    folders = [str(ROOT / "clients" / "conformance"), str(ROOT / "tests")]
    inherited = environment()
    path = os.pathsep.join([*folders, inherited["PYTHONPATH"]])
    return subprocess.Popen(
        [sys.executable, "-m", "gemwire_conformance", *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=inherited | {"PYTHONPATH": path},
    )


@contextmanager
def servers() -> Iterator[dict[str, Any]]:
    """The content of the file that CONFORMANCE names, while the servers run."""
    process = harness("sh", "-c", 'echo "$CONFORMANCE"; cat', stdin=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield json.loads(Path(process.stdout.readline().strip()).read_text())
    finally:
        process.communicate(timeout=60)


def settings(case: Case, named: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The arguments of a new client for the case, and the token for the verdict of the scripted server."""
    server = named["servers"][case.get("server", "scripted")]
    token, verdict = case.get("token"), None
    if "server" not in case:
        token = f"{case['name']}.{next(RUNS)}"
        verdict = f"verdict.{token}"
    made = {
        "address": server["address"],
        "token": token,
        "timeout": case.get("timeout", TIMEOUT_SECONDS),
        "credentials": _credentials(server),
    }
    return made, verdict


def _credentials(server: dict[str, str]) -> grpc.ChannelCredentials | None:
    if "ca" not in server:
        return None
    files = [Path(server[key]).read_bytes() if key in server else None for key in ("key", "cert")]
    return grpc.ssl_channel_credentials(Path(server["ca"]).read_bytes(), *files)


def text(said: Any) -> Any:
    """A text of a case."""
    match said:
        case {"bytes": count}:
            return "a" * count
        case {"ids": ids}:
            return ids
        case {"text": value, "title": title}:
            return Document(value, title)
    return said


def texts(said: Any) -> list[Any]:
    if isinstance(said, dict):
        return [f"text {i}" for i in range(said["count"])]
    return [text(one) for one in said]


class Source:
    """Texts one by one; `ahead` is the most that were taken and not yet handed out."""

    def __init__(self, said: Any) -> None:
        self._texts = iter(texts(said))
        self.taken = self.handed_out = self.ahead = 0

    def __iter__(self) -> Iterator[Any]:
        for one in self._texts:
            self.taken += 1
            self.ahead = max(self.ahead, self.taken - self.handed_out)
            yield one


def check_error(error: GemwireError, expected: dict[str, Any]) -> None:
    found: dict[str, Any] = {
        "code": error.code.name,
        "message": error.args[0],
        "reason": error.reason,
        "metadata": error.metadata,
        "fields": error.fields,
        "retry_after": error.retry_after,
        "index": error.index,
        "errors": list(error.errors),
    }
    if "type" in expected:
        assert isinstance(error, TYPES[expected["type"]]), error
    # What a proxy or gRPC said stands within a sentence of the client's own.
    if "message" in expected:
        assert expected["message"] in found["message"]
    for key in expected.keys() - {"type", "message"}:
        assert found[key] == expected[key], key


def check_answers(answers: list[tuple[int, Any]], expect: dict[str, Any], ordered: bool) -> None:
    """The results of a stream."""
    if "count" in expect:
        if not ordered:
            answers.sort(key=lambda pair: pair[0])
        assert [index for index, _ in answers] == list(range(expect["count"]))
        for index, vector in answers:
            assert vector.tolist() == [index, 1]
    if "results" in expect:
        assert [index for index, _ in answers] == [one["index"] for one in expect["results"]]
        for (_, answer), one in zip(answers, expect["results"], strict=True):
            if "error" in one:
                check_error(answer, one["error"])
            else:
                assert answer.tolist() == one["vector"]


def check_result(result: Any, case: Case, reference: dict[str, Any]) -> None:
    """The result of a call that is no stream."""
    expect = case["expect"]
    if case["call"]["method"] == "embed_query":
        result = result[None]  # cases have a list of vectors
    if "model" in expect:
        _check_model(result, expect["model"])
    elif "text" in expect:
        assert result == expect["text"]
    elif "lengths" in expect:
        assert [len(vector) for vector in result] == expect["lengths"]
    elif "reference" in expect:
        expected = reference[expect["reference"]]
        assert expected and (result if isinstance(result, str) else result.tolist()) == expected
    else:
        (expected,) = expect.values()
        assert np.asarray(result).tolist() == expected


def _check_model(model: Model, expected: dict[str, Any]) -> None:
    for key, value in expected.items():
        found = getattr(model, key, None) if hasattr(model, key) else getattr(model.limits, key)
        assert (list(found) if isinstance(found, tuple) else found) == value, key
