"""Triton's own client, in a process of its own: its messages have the names of the server's."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemwire.v1 import embedding_pb2 as native
from gemwire_compat import open_inference_pb2 as pb
from gemwire_server import __version__
from support.harness import Served, batch, running, text
from support.peer_clients import parameter, run

QUERIES = ["What is gravity?", "Ω, 重力", "x" * 300]
DOCUMENTS = ["Mars is red.", "The quick brown fox. " * 20]
TITLES = ["Planets", ""]
DIMENSIONS = 32
ASKED = native.TASK_TYPE_RETRIEVAL_QUERY


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), dtype="float32") as server:
        yield server


@pytest.fixture(scope="module", params=[parameter("latest")])
def printed(served: Served, request: pytest.FixtureRequest) -> Any:
    given = {
        "address": served.address,
        "queries": QUERIES,
        "documents": DOCUMENTS,
        "titles": TITLES,
        "dimensions": DIMENSIONS,
    }
    return run(request.param, "tritonclient_grpc", given)


def encoded(rows: Any) -> str:
    return base64.b64encode(np.asarray(rows, "<f4").tobytes()).decode()


def queries(served: Served, dimensions: int = 0) -> str:
    options = native.EmbedOptions(task=ASKED, output_dimensionality=dimensions)
    return encoded(batch(served, [text(each) for each in QUERIES], options))


def test_vectors_are_the_native_clients_to_the_bit(served: Served, printed: Any) -> None:
    expected, short = queries(served), queries(served, DIMENSIONS)
    titled = [text(*each) for each in zip(DOCUMENTS, TITLES, strict=True)]
    options = native.EmbedOptions(task=native.TASK_TYPE_RETRIEVAL_DOCUMENT)
    assert len(printed["vectors"]) == 9
    for label, found in printed["vectors"].items():
        if label == "documents":
            assert found == encoded(batch(served, titled, options))
        else:
            assert found == (short if label.startswith("short") else expected), label


def test_an_error_in_a_stream_is_the_requests_alone(served: Served, printed: Any) -> None:
    first, failed, last = printed["stream"]
    assert failed["message"].startswith("inputs[0][1].text: ")
    assert (first, last) == ({"id": "0", "queries": queries(served)}, first | {"id": "2"})


def test_errors(printed: Any) -> None:
    found = {label: each["status"] for label, each in printed["errors"].items()}
    assert found == {
        "empty": "StatusCode.INVALID_ARGUMENT",
        "model": "StatusCode.NOT_FOUND",
        "metadata": "StatusCode.NOT_FOUND",
        "version": "StatusCode.NOT_FOUND",
        "load": "StatusCode.UNIMPLEMENTED",
    }
    assert printed["errors"]["empty"]["message"].startswith("inputs[0][1].text: ")


def test_description(printed: Any) -> None:
    found = printed["description"]
    assert (found["live"], found["ready"], found["other ready"]) == (True, [True, True], False)
    assert found["server"]["name"] == "gemwire" and found["server"]["version"] == __version__
    assert [tensor["name"] for tensor in found["model"]["inputs"]] == ["text", "title"]
    config = found["config"]["config"]
    assert config["name"] == "tiny" and config["max_batch_size"] == 1024
    assert config["input"][1] == {
        "name": "title",
        "data_type": "TYPE_STRING",
        "dims": ["1"],
        "optional": True,
    }
    assert found["index"]["models"] == [{"name": "tiny", "version": "1", "state": "READY"}]
    (statistics,) = found["statistics"]["model_stats"]
    # The vectors of nine requests and two of the stream's, and four requests that failed.
    assert statistics["inference_stats"]["success"]["count"] == "11"
    assert statistics["inference_stats"]["fail"]["count"] == "4"


def test_the_contract_is_tritons(printed: Any) -> None:
    """What the .proto of the server has: names, numbers, types and labels."""
    theirs, ours = printed["contract"], {}

    def add(message: Any) -> None:
        for field in message.fields:
            kind = field.message_type or field.enum_type
            name = kind.full_name if kind else ""
            ours[field.full_name] = [field.number, field.type, field.is_repeated, name]
        for inner in message.nested_types:
            add(inner)

    for message in pb.DESCRIPTOR.message_types_by_name.values():
        add(message)
    for enum in pb.DESCRIPTOR.enum_types_by_name.values():
        ours |= {f"{enum.full_name}.{each.name}": [each.number] for each in enum.values}
    for service in pb.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            ours[method.full_name] = [
                method.input_type.full_name,
                method.client_streaming,
                method.output_type.full_name,
                method.server_streaming,
            ]
    assert len(ours) > 100
    assert ours == {name: theirs.get(name) for name in ours}
