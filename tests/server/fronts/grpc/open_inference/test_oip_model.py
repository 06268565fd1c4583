"""What the server says of itself and its model."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gemwire.v1 import embedding_pb2 as native
from gemwire_compat import open_inference_pb2 as pb
from gemwire_server import __version__
from gemwire_server.engine.thread_engine import ThreadEngine
from support.harness import Served, failure, running
from support.open_inference import call, request, stream


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), max_inputs_per_request=32) as server:
        yield server


def test_it_is_live_and_ready(served: Served) -> None:
    assert call(served.channel, "ServerLive").live
    assert call(served.channel, "ServerReady").ready
    for name, version, ready in [
        ("", "", True),
        ("tiny", "1", True),
        ("models/tiny", "", True),
        ("tiny", "2", False),
        ("other", "1", False),
    ]:
        asked = pb.ModelReadyRequest(name=name, version=version)
        assert call(served.channel, "ModelReady", asked).ready == ready


def test_it_is_not_ready_without_an_engine(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[ThreadEngine] = []
    init = ThreadEngine.__init__

    def kept(engine: ThreadEngine, *given: Any, **options: Any) -> None:
        init(engine, *given, **options)
        engines.append(engine)

    monkeypatch.setattr(ThreadEngine, "__init__", kept)
    with running(str(tiny_checkpoint)) as served:
        assert call(served.channel, "ServerReady").ready
        (engine,) = engines
        engine._on_death()
        deadline = time.monotonic() + 10
        while call(served.channel, "ServerReady").ready:
            assert time.monotonic() < deadline
        assert call(served.channel, "ServerLive").live
        assert not call(served.channel, "ModelReady").ready
        assert [each.state for each in call(served.channel, "RepositoryIndex").models] == [
            "UNAVAILABLE"
        ]
        ready = pb.RepositoryIndexRequest(ready=True)
        assert not call(served.channel, "RepositoryIndex", ready).models


def test_metadata(served: Served) -> None:
    server = call(served.channel, "ServerMetadata")
    assert (server.name, server.version) == ("gemwire", __version__)
    assert "statistics" in server.extensions
    model = call(served.channel, "ModelMetadata", pb.ModelMetadataRequest(name="tiny"))
    assert (model.name, list(model.versions), model.platform) == ("tiny", ["1"], "gemwire")
    tensors = [(each.name, each.datatype, list(each.shape)) for each in model.inputs]
    assert tensors == [("text", "BYTES", [-1, 1]), ("title", "BYTES", [-1, 1])]
    (output,) = model.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("embedding", "FP32", [-1, -1])


def test_config(served: Served) -> None:
    config = call(served.channel, "ModelConfig").config
    assert (config.name, config.platform, config.backend) == ("tiny", "gemwire", "gemwire")
    assert config.max_batch_size == 32
    inputs = [(each.name, each.data_type, list(each.dims), each.optional) for each in config.input]
    assert inputs == [
        ("text", pb.TYPE_STRING, [1], False),
        ("title", pb.TYPE_STRING, [1], True),
    ]
    (output,) = config.output
    assert (output.name, output.data_type, list(output.dims)) == ("embedding", pb.TYPE_FP32, [-1])
    parameters = {name: each.string_value for name, each in config.parameters.items()}
    assert parameters["dimensions"] == "96" and "32" in parameters["supported_dimensions"].split(
        ","
    )
    asked = native.EmbedRequest(input=native.EmbedInput(text="a"))
    assert parameters["revision"] == served.embedding.Embed(asked).model_revision


def test_index(served: Served) -> None:
    (model,) = call(served.channel, "RepositoryIndex").models
    assert (model.name, model.version, model.state) == ("tiny", "1", "READY")


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
@pytest.mark.parametrize("asked", [{"name": "other"}, {"version": "2"}], ids=["name", "version"])
def test_another_model(served: Served, method: str, asked: dict[str, str]) -> None:
    kind: Any = getattr(pb, f"{method}Request")
    with pytest.raises(grpc.RpcError) as caught:
        call(served.channel, method, kind(**asked))
    error = failure(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")


def test_statistics_count_requests_of_calls_and_streams(tiny_checkpoint: Path) -> None:
    before = time.time()
    with running(str(tiny_checkpoint)) as served:
        (nothing,) = call(served.channel, "ModelStatistics").model_stats
        assert (nothing.name, nothing.version, nothing.inference_count) == ("tiny", "1", 0)
        began = time.monotonic()
        call(served.channel, "ModelInfer", request(["a", "b"]))
        with pytest.raises(grpc.RpcError):
            call(served.channel, "ModelInfer", request([""]))
        list(stream(served.channel, iter([request(["a"] * 3), request([""]), request(["b"])])))
        seconds = time.monotonic() - began
        (found,) = call(served.channel, "ModelStatistics").model_stats
    of_requests = found.inference_stats
    assert (of_requests.success.count, of_requests.fail.count) == (3, 2)
    assert found.inference_count == 6
    # Requests of a stream overlap.
    assert 0 < of_requests.success.ns <= 3 * seconds * 1e9 and of_requests.fail.ns > 0
    assert before * 1000 - 1 <= found.last_inference <= time.time() * 1000
    assert found.execution_count == 0 and of_requests.queue.count == 0


def test_methods_of_triton_that_are_left_out(served: Served) -> None:
    stub: Any = served.channel.unary_unary("/inference.GRPCInferenceService/RepositoryModelLoad")
    with pytest.raises(grpc.RpcError) as caught:
        stub(b"")
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
