"""curl, as the documentation calls it."""

import base64
import json
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")


def curl(url: str, body: Any, *options: str) -> tuple[int, Any]:
    """The status and the body of an answer."""
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--max-time",
        "30",
        "--write-out",
        "\n%{http_code}",
    ]
    command += ["--json", json.dumps(body), *options, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(answer)


def test_openai(servers: Any) -> None:
    given = servers.given
    body = {
        "model": f"{given['model']}:query",
        "input": given["queries"],
        "encoding_format": "base64",
    }
    status, answer = curl(f"{given['http']}/v1/embeddings", body)
    assert status == 200
    rows = [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in answer["data"]]
    np.testing.assert_allclose(np.stack(rows), servers.expected["query"], rtol=0, atol=1e-6)


def test_tei(servers: Any) -> None:
    given = servers.given
    body = {"inputs": given["documents"], "prompt_name": "document"}
    status, answer = curl(f"{given['http']}/embed", body)
    assert status == 200
    np.testing.assert_allclose(answer, servers.expected["document"], rtol=0, atol=1e-6)


def test_a_token(servers: Any) -> None:
    given = servers.given
    url, body = f"{given['guarded_http']}/v1/embeddings", {"input": "Mars", "model": given["model"]}
    assert curl(url, body)[0] == 401
    assert curl(url, body, "--header", f"Authorization: Bearer {given['token']}")[0] == 200


def test_overload_says_when_to_come_back(servers: Any) -> None:
    given = servers.given
    body = {"input": "Mars", "model": given["model"]}
    status, answer = curl(f"{given['full_http']}/v1/embeddings", body)
    assert status == 429 and answer["error"]["message"]
    status, answer = curl(f"{given['full_http']}/embed", {"inputs": "Mars"})
    assert status == 429 and answer["error"] == "Model is overloaded"
