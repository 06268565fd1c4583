"""Fixtures of every test of the HTTP front."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.harness import Served, running
from support.http_front import serve_small_api

LARGEST_BODY = 2**20


@pytest.fixture
def small_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of this test serve `SmallApi` over HTTP and nothing else."""
    serve_small_api(monkeypatch)


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    """A server with `SmallApi` that takes bodies of at most 1 MiB."""
    with pytest.MonkeyPatch.context() as patched:
        serve_small_api(patched)
        with running(
            str(tiny_checkpoint), http_address="127.0.0.1:0", max_request_bytes=LARGEST_BODY
        ) as found:
            yield found
