"""What a handler sends and leaves behind when its call is over."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.observe.metrics import CallMetrics
from support.harness import Served, failure, running, text

TEXT_BYTES = 8 << 20
CALLS = 8
NO_SUCH_SIZE = pb.EmbedOptions(output_dimensionality=5)
ANOTHER_SIZE = pb.EmbedOptions(output_dimensionality=64)
# Refused after their message is parsed, each by another part of the server.
REFUSED: dict[str, Callable[[pb.EmbedInput], tuple[str, Any]]] = {
    "options": lambda large: (
        "BatchEmbed",
        pb.BatchEmbedRequest(inputs=[large], options=NO_SUCH_SIZE),
    ),
    "model": lambda large: (
        "Embed",
        pb.EmbedRequest(input=large, options=pb.EmbedOptions(model="another")),
    ),
    "text": lambda large: ("Embed", pb.EmbedRequest(input=large)),
    "number of inputs": lambda large: (
        "BatchEmbed",
        pb.BatchEmbedRequest(inputs=[large, text("a"), text("b")]),
    ),
    "two sizes": lambda large: (
        "ComputeSimilarity",
        pb.ComputeSimilarityRequest(source=large, target_options=ANOTHER_SIZE),
    ),
}


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), max_inputs_per_request=2) as server:
        yield server


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("refused_by", REFUSED)
def test_a_refused_request_is_freed_at_once(served: Served, refused_by: str) -> None:
    """Without the garbage collector, which looks for cycles by their number and not by their size."""
    method, request = REFUSED[refused_by](text("x" * TEXT_BYTES))

    def call(times: int) -> None:
        for _ in range(times):
            with pytest.raises(grpc.RpcError):
                getattr(served.embedding, method)(request, timeout=60)

    call(3)
    before = resident_bytes()
    call(CALLS)
    assert resident_bytes() - before < CALLS * TEXT_BYTES / 4


@pytest.mark.parametrize("step", ["call_started", "call_ended"])
@pytest.mark.parametrize("name", ["", "another"], ids=["answered", "refused"])
def test_a_service_that_cannot_count_sends_no_text(
    served: Served, monkeypatch: pytest.MonkeyPatch, step: str, name: str
) -> None:
    """As on a disk without space, where the metrics of processes lie in files."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "/a/private/path")

    monkeypatch.setattr(CallMetrics, step, fail)
    with pytest.raises(grpc.RpcError) as caught:
        served.model.GetModel(pb.GetModelRequest(name=name), timeout=60)
    found = failure(caught.value)
    assert (found.code, found.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "private" not in found.message and "space" not in found.message
