"""Errors reach callers as OpenAI's libraries know them: status, type, code, and when to come back."""

import json
import threading
from pathlib import Path

import pytest

from gemwire_server.errors import (
    EngineFailure,
    Expired,
    GemwireError,
    InvalidInput,
    Overloaded,
    QuotaExceeded,
    Stopped,
)
from gemwire_server.fronts.http.openai.errors import refusal
from gemwire_server.security.tokens import make
from support.harness import running
from support.held_device import HeldDevice
from support.json_http import Answer, request
from support.token_files import write

PATH = "/v1/embeddings"
BODY = {"input": "a"}


def kind_and_code(answer: Answer) -> tuple[str, str]:
    error = answer.json["error"]
    assert error["message"]
    return error["type"], error["code"]


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (InvalidInput("BODY_TOO_LARGE", "m"), 413, "invalid_request_error", "body_too_large"),
        (InvalidInput("BODY_TIMEOUT", "m"), 408, "invalid_request_error", "body_timeout"),
        (Overloaded("QUEUE_FULL", "m", retry_after=2.0), 429, "rate_limit_error", "rate_limit_exceeded"),
        (QuotaExceeded("QUOTA", "m", subject="s"), 429, "insufficient_quota", "insufficient_quota"),
        (EngineFailure("POISON_INPUT", "m"), 500, "server_error", "poison_input"),
        (Stopped("DRAINING", "m"), 503, "server_error", "draining"),
        (Expired("DEADLINE_EXCEEDED", "m"), 504, "timeout", "deadline_exceeded"),
    ],
)  # fmt: skip
def test_every_kind_of_error(error: GemwireError, status: int, kind: str, code: str) -> None:
    found, raw = refusal(error)
    fields = {"message": "m", "type": kind, "param": None, "code": code}
    assert (found, json.loads(raw)) == (status, {"error": fields})


def test_a_call_without_its_token(tiny_checkpoint: Path, tmp_path: Path) -> None:
    token, line = make("somebody")
    write(tmp_path / "tokens", line)
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", tokens_file=str(tmp_path / "tokens")
    ) as server:
        for path, body in ((PATH, BODY), ("/v1/models", None), ("/v1/models/tiny", None)):
            for headers in ({}, {"authorization": "Bearer gemwire_wrong"}):
                answer = request(server.http_address, path, body, headers=headers)
                assert answer.status == 401
                assert kind_and_code(answer) == ("authentication_error", "invalid_api_key")
            right = {"authorization": f"Bearer {token}"}
            assert request(server.http_address, path, body, headers=right).status == 200


def test_a_used_up_quota_forbids_retries(tiny_checkpoint: Path, tmp_path: Path) -> None:
    token, line = make("somebody", rate=1, burst=200)
    write(tmp_path / "tokens", line)
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", tokens_file=str(tmp_path / "tokens")
    ) as server:
        headers = {"authorization": f"Bearer {token}"}
        body = {"input": ["a few words of a text"] * 20}
        assert request(server.http_address, PATH, body, headers=headers).status == 200
        answer = request(server.http_address, PATH, body, headers=headers)
        assert answer.status == 429
        assert kind_and_code(answer) == ("insufficient_quota", "insufficient_quota")
        assert answer.headers["x-should-retry"] == "false"
        assert "retry-after" not in answer.headers


def test_an_overloaded_server_says_when_to_come_back(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", max_concurrent_calls=1
    ) as server:
        device.hold()
        answers: list[Answer] = []
        first = threading.Thread(
            target=lambda: answers.append(request(server.http_address, PATH, BODY))
        )
        first.start()
        device.wait_until_running()
        answer = request(server.http_address, PATH, BODY)
        device.release()
        first.join()
        assert answer.status == 429
        assert kind_and_code(answer) == ("rate_limit_error", "rate_limit_exceeded")
        assert int(answer.headers["retry-after"]) >= 1
        assert int(answer.headers["retry-after-ms"]) > 0
        assert answers[0].status == 200


def test_a_call_over_its_time(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), http_address="127.0.0.1:0", call_seconds=0.2) as server:
        device.hold()
        answer = request(server.http_address, PATH, BODY)
        device.release()
        assert answer.status == 504
        assert kind_and_code(answer) == ("timeout", "deadline_exceeded")
