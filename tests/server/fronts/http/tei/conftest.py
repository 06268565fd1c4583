"""A server whose TEI over HTTP and tei.v1 a test can call."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.harness import Served, running
from support.tei import Tei


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(
        str(tiny_checkpoint),
        http_address="127.0.0.1:0",
        dtype="float32",
        max_inputs_per_request=8,
        max_batch_tokens=300,
        tokenizer_threads=3,
    ) as server:
        yield server


@pytest.fixture
def tei(served: Served) -> Tei:
    return Tei(served.channel)
