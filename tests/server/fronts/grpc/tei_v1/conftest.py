"""A server whose tei.v1 and gemwire.v1 a test can call."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.harness import Served, running
from support.tei import Tei


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), dtype="float32", max_batch_tokens=256) as server:
        yield server


@pytest.fixture
def tei(served: Served) -> Tei:
    return Tei(served.channel)
