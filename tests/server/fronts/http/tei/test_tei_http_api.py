"""/info and the health that TEI's and SageMaker's probes ask for."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gemwire_server import __version__
from gemwire_server.fronts.http.health import HealthPage
from support.harness import Served
from support.json_http import request

UNHEALTHY = b'{"error":"unhealthy","error_type":"Unhealthy"}'


def test_info(served: Served) -> None:
    info = request(served.http_address, "/info").json
    assert info.pop("model_sha").startswith("sha256-")
    assert info == {
        "model_id": "tiny",
        "served_model_name": "tiny",
        "model_dtype": "float32",
        "model_type": {"embedding": {"pooling": "mean"}},
        "max_concurrent_requests": 1024,
        "max_input_length": 2048,
        "max_batch_tokens": 300,
        "max_batch_requests": None,
        "max_client_batch_size": 8,
        "auto_truncate": True,
        "tokenization_workers": 3,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }


@pytest.mark.parametrize("path", ["/health", "/", "/ping"])
def test_health(served: Served, path: str) -> None:
    answer = request(served.http_address, path)
    assert (answer.status, answer.raw) == (200, b"")


def test_the_health_of_a_server_that_is_not_ready() -> None:
    service: Any = SimpleNamespace(is_serving=False)
    page = HealthPage(service)
    (route,) = [route for route in page.routes() if route.path == "/health"]
    for serving, expected in ((True, (200, b"")), (False, (503, UNHEALTHY))):
        service.is_serving = serving
        response = asyncio.run(route.endpoint(None))
        assert (response.status_code, response.body) == expected
