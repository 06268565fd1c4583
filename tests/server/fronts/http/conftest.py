"""Fixtures of every test of the HTTP front."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.harness import Served, running
from support.http_front import small_api

__all__ = ["served", "small_api"]


@pytest.fixture
def served(tiny_checkpoint: Path, small_api: None) -> Iterator[Served]:
    """A server with small limits: bodies of 64 KiB and more are few."""
    with running(
        str(tiny_checkpoint), http_address="127.0.0.1:0", max_request_bytes=2**20
    ) as found:
        yield found
