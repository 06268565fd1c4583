"""ModelInfer over a real socket, against the native service of the same server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc.status_pb2 import Status

from gemwire.v1 import embedding_pb2 as native
from gemwire_compat import open_inference_pb2 as pb
from gemwire_server.security.tokens import make
from support.harness import Served, batch, failure, first_refused, running, text
from support.held_device import HeldDevice
from support.methods import WAIT
from support.open_inference import call, matrix, request
from support.token_files import bearer, write

TEXTS = ["What is gravity?", "", "Ω, 重力", "The quick brown fox. " * 40]
TITLES = ["Physics", "none at all", "", "A fox"]
SIZE = 96
MANY = ["many words " * 20] * 48


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), dtype="float32", max_inputs_per_request=64) as server:
        yield server


def infer(served: Served, made: pb.ModelInferRequest, **options: Any) -> pb.ModelInferResponse:
    response = call(served.channel, "ModelInfer", made, **options)
    assert isinstance(response, pb.ModelInferResponse)
    return response


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "contents"])
@pytest.mark.parametrize("dimensions", [0, 32])
def test_queries_are_the_native_clients_to_the_bit(
    served: Served, raw: bool, dimensions: int
) -> None:
    texts = [each for each in TEXTS if each]
    options = native.EmbedOptions(
        task=native.TASK_TYPE_RETRIEVAL_QUERY, output_dimensionality=dimensions
    )
    expected = batch(served, [text(each) for each in texts], options)
    parameters: dict[str, Any] = {"task": "query"}
    if dimensions:
        parameters["dimensions"] = dimensions
    response = infer(served, request(texts, raw=raw, id="an id", parameters=parameters))
    np.testing.assert_array_equal(matrix(response), expected)
    assert (response.model_name, response.model_version, response.id) == ("tiny", "1", "an id")


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "contents"])
@pytest.mark.parametrize("dimensions", [64, 32])
def test_documents_with_titles(served: Served, raw: bool, dimensions: int) -> None:
    texts = ["body of it " * (i + 1) for i in range(len(TITLES))]
    options = native.EmbedOptions(
        task=native.TASK_TYPE_RETRIEVAL_DOCUMENT, output_dimensionality=dimensions
    )
    expected = batch(served, [text(*each) for each in zip(texts, TITLES, strict=True)], options)
    parameters: dict[str, Any] = {"task": "retrieval_document", "dimensions": dimensions}
    made = request(texts, titles=TITLES, raw=raw, parameters=parameters)
    np.testing.assert_array_equal(matrix(infer(served, made)), expected)
    alike = batch(served, [text(each, "One") for each in texts], options)
    made = request(texts, raw=raw, parameters=parameters | {"title": "One"})
    np.testing.assert_array_equal(matrix(infer(served, made)), alike)


def test_titles_may_stand_before_texts(served: Served) -> None:
    made = request(["a", "b"], titles=["t", "u"], parameters={"task": "document"})
    expected = matrix(infer(served, made))
    turned = pb.ModelInferRequest(parameters=made.parameters)
    turned.inputs.extend(reversed(made.inputs))
    turned.raw_input_contents.extend(reversed(made.raw_input_contents))
    np.testing.assert_array_equal(matrix(infer(served, turned)), expected)


@pytest.mark.parametrize("shape", [[2], [2, 1]])
@pytest.mark.parametrize("name", ["text", "INPUT0"])
def test_shapes_and_names(served: Served, shape: list[int], name: str) -> None:
    expected = batch(served, [text("a"), text("b")], native.EmbedOptions())
    made = request(["a", "b"], shape=shape, name=name)
    made.outputs.add(name="embedding").parameters["binary_data"].bool_param = True
    np.testing.assert_array_equal(matrix(infer(served, made)), expected)


def test_no_texts(served: Served) -> None:
    for made in (request([]), request([], raw=False)):
        assert matrix(infer(served, made)).shape == (0, SIZE)


def test_one_bad_text_fails_the_request_and_is_named(served: Served) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        infer(served, request(TEXTS))
    error = failure(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "EMPTY_TEXT")
    assert error.field == "inputs[0][1].text" and error.message.startswith("inputs[0][1].text: ")


def test_a_title_without_a_document(served: Served) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        infer(served, request(["a"], titles=["t"], parameters={"task": "query"}))
    assert failure(caught.value).reason == "TITLE_WITHOUT_DOCUMENT"


def test_it_needs_a_token(tiny_checkpoint: Path, tmp_path: Path) -> None:
    token, line = make("somebody")
    write(tmp_path / "tokens", line)
    with running(str(tiny_checkpoint), tokens_file=str(tmp_path / "tokens")) as served:
        for method in ("ServerLive", "ModelInfer"):
            with pytest.raises(grpc.RpcError) as caught:
                call(served.channel, method, metadata=bearer("wrong"))
            assert failure(caught.value).code == grpc.StatusCode.UNAUTHENTICATED
        assert matrix(infer(served, request(["a"]), metadata=bearer(token))).shape == (1, SIZE)


def test_an_overload_says_when_to_retry(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = HeldDevice(monkeypatch)
    with running(str(tiny_checkpoint), max_queue_tokens=4096, max_batch_tokens=512) as served:
        device.hold()
        stub: Any = served.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        raw = request(MANY).SerializeToString()
        calls = [stub.future(raw, timeout=WAIT) for _ in range(8)]
        error = first_refused(calls)
        assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.retry_after is not None and error.retry_after > 0
        device.release()


def test_a_response_that_is_too_large_is_refused_before_the_work(tiny_checkpoint: Path) -> None:
    with running(str(tiny_checkpoint), max_response_bytes=1 << 16) as served:
        with pytest.raises(grpc.RpcError) as caught:
            infer(served, request(["a"] * 1000))
        error = failure(caught.value)
        assert error.reason == "RESPONSE_TOO_LARGE"
        most = int(re.findall("send at most ([0-9]+)", error.message)[0])
        response = infer(served, request(["a"] * most))
        assert 0 <= (1 << 16) - response.ByteSize() < 2 * 4 * SIZE
        with pytest.raises(grpc.RpcError):
            infer(served, request(["a"] * (most + 1)))
        made = request(["a"] * (most + 1), parameters={"dimensions": 32})
        assert matrix(infer(served, made)).shape == (most + 1, 32)


def test_the_status_has_the_message_of_the_call(served: Served) -> None:
    """Clients refuse details that are not the call's."""
    with pytest.raises(grpc.RpcError) as caught:
        infer(served, request([""]))
    assert isinstance(caught.value, grpc.Call)
    trailers = dict(caught.value.trailing_metadata() or ())
    status = Status.FromString(trailers["grpc-status-details-bin"])
    assert status.message == caught.value.details()
