"""Parameters of a request mean what the native options mean."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from gemwire.v1 import embedding_pb2 as native
from gemwire_compat import open_inference_pb2 as pb
from support.harness import Served, batch, failure, running, text
from support.open_inference import Value, call, matrix, request

TEXTS = ["What is gravity?", "The quick brown fox"]
Options = dict[str, Any]
SAME: list[tuple[dict[str, Value], Options]] = [
    ({}, {}),
    ({"task": "retrieval_query"}, {"task": native.TASK_TYPE_RETRIEVAL_QUERY}),
    ({"task": "Search-Document"}, {"task": native.TASK_TYPE_RETRIEVAL_DOCUMENT}),
    ({"prompt_name": "STS"}, {"task": native.TASK_TYPE_SEMANTIC_SIMILARITY}),
    ({"prompt_name": "Reranking"}, {"prompt_name": "Reranking"}),
    ({"prompt": "ask: "}, {"prompt_text": "ask: "}),
    ({"prompt": ""}, {"prompt_text": ""}),
    ({"dimensions": 32}, {"output_dimensionality": 32}),
    ({"dimensions": 32.0}, {"output_dimensionality": 32}),
    ({"dimensions": pb.InferParameter(uint64_param=32)}, {"output_dimensionality": 32}),
    (
        {"dimensions": 32, "normalize": False},
        {"output_dimensionality": 32, "normalize": False},
    ),
    ({"dimensions": 32, "normalize": "False"}, {"output_dimensionality": 32, "normalize": False}),
    ({"normalize": True, "priority": -10}, {}),
    # Triton's own, which clients set for any model.
    (
        {
            "sequence_id": 7,
            "sequence_start": True,
            "sequence_end": False,
            "timeout": 10,
            "priority": pb.InferParameter(uint64_param=1000),
            "triton_enable_empty_final_response": True,
            "binary_data_output": True,
            "headers": "",
        },
        {},
    ),
]
LONG = "long " * 3000
BAD: list[tuple[dict[str, Value], str, str]] = [
    ({"tasks": "query"}, "UNKNOWN_PARAMETER", "'tasks'"),
    ({"x" * 1000: "query"}, "UNKNOWN_PARAMETER", "x" * 64 + "'"),
    ({"ä\n": "query"}, "UNKNOWN_PARAMETER", r"'\xe4\n'"),
    ({"task": "secret"}, "UNKNOWN_TASK", "parameters.task"),
    ({"task": 1}, "INVALID_PARAMETER", "parameters.task is not a string"),
    ({"task": pb.InferParameter()}, "INVALID_PARAMETER", "parameters.task has no value"),
    ({"prompt": True}, "INVALID_PARAMETER", "parameters.prompt is not a string"),
    ({"prompt_name": "secret"}, "UNKNOWN_PROMPT", "parameters.prompt_name"),
    ({"prompt": "secret" * 1000}, "PROMPT_TOO_LONG", "parameters.prompt"),
    ({"task": "query", "prompt": ""}, "CONFLICTING_PROMPTS", "parameters.task and"),
    ({"dimensions": 33}, "UNSUPPORTED_DIMENSION", "parameters.dimensions"),
    ({"dimensions": -32}, "UNSUPPORTED_DIMENSION", "parameters.dimensions"),
    ({"dimensions": pb.InferParameter(uint64_param=1 << 63)}, "UNSUPPORTED_DIMENSION", ""),
    ({"dimensions": 32.5}, "INVALID_PARAMETER", "parameters.dimensions"),
    ({"dimensions": float("nan")}, "INVALID_PARAMETER", "parameters.dimensions"),
    ({"dimensions": float("inf")}, "INVALID_PARAMETER", "parameters.dimensions"),
    ({"dimensions": "32"}, "INVALID_PARAMETER", "parameters.dimensions"),
    ({"dimensions": True}, "INVALID_PARAMETER", "parameters.dimensions"),
    ({"normalize": 1}, "INVALID_PARAMETER", "parameters.normalize is not true, false"),
    ({"truncate": "middle"}, "INVALID_PARAMETER", "parameters.truncate"),
    ({"truncate": 1.0}, "INVALID_PARAMETER", "parameters.truncate"),
    ({"priority": 11}, "UNSUPPORTED_PRIORITY", "parameters.priority"),
    ({"title": 1}, "INVALID_PARAMETER", "parameters.title"),
    ({"title": "secret" * 1000, "task": "document"}, "PROMPT_TOO_LONG", "title has 6000"),
]


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), dtype="float32") as server:
        yield server


@pytest.mark.parametrize(("parameters", "options"), SAME)
def test_they_mean_the_native_options(
    served: Served, parameters: dict[str, Value], options: Options
) -> None:
    expected = batch(served, [text(each) for each in TEXTS], native.EmbedOptions(**options))
    response = call(served.channel, "ModelInfer", request(TEXTS, parameters=parameters))
    np.testing.assert_array_equal(matrix(response), expected)


@pytest.mark.parametrize(
    ("value", "truncation"),
    [
        ("end", native.TRUNCATION_END),
        (True, native.TRUNCATION_END),
        ("true", None),
        ("START", native.TRUNCATION_START),
    ],
)
def test_truncation(served: Served, value: Value, truncation: Any) -> None:
    made = request([LONG], parameters={"truncate": value})
    if truncation is None:
        with pytest.raises(grpc.RpcError):
            call(served.channel, "ModelInfer", made)
        return
    expected = batch(served, [text(LONG)], native.EmbedOptions(truncation=truncation))
    np.testing.assert_array_equal(matrix(call(served.channel, "ModelInfer", made)), expected)


@pytest.mark.parametrize("parameters", [{}, {"truncate": False}, {"truncate": "error"}])
def test_without_truncation_a_long_text_is_refused(
    served: Served, parameters: dict[str, Value]
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(served.channel, "ModelInfer", request([LONG], parameters=parameters))
    assert failure(caught.value).reason == "TEXT_TOO_LONG"


@pytest.mark.parametrize(("parameters", "reason", "part"), BAD)
def test_what_is_refused(
    served: Served, parameters: dict[str, Value], reason: str, part: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(served.channel, "ModelInfer", request(TEXTS, parameters=parameters))
    error = failure(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason), error.message
    assert part in error.message and "secret" not in error.message
