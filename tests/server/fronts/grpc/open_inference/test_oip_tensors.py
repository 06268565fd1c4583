"""Tensors that the model does not take: the place is named, and nothing of a text is quoted."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gemwire_compat import open_inference_pb2 as pb
from support.harness import Served, failure, running
from support.open_inference import call, matrix, packed, request

SECRET = "a secret text"
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
Make = Callable[[], pb.ModelInferRequest]


def changed(change: Callable[[pb.ModelInferRequest], object], raw: bool = True) -> Make:
    """A good request of two secret texts, changed."""

    def make() -> pb.ModelInferRequest:
        made = request([SECRET, SECRET], raw=raw)
        change(made)
        return made

    return make


def with_raw(raw: bytes) -> Make:
    def change(made: pb.ModelInferRequest) -> None:
        made.raw_input_contents[0] = raw

    return changed(change)


def with_input(name: str, *elements: str) -> Make:
    def change(made: pb.ModelInferRequest) -> None:
        made.inputs.add(name=name, datatype="BYTES", shape=[len(elements)])
        made.raw_input_contents.append(packed(elements))

    return changed(change)


GOOD = packed([SECRET, SECRET])
BAD: dict[str, tuple[Make, grpc.StatusCode, str]] = {
    "model": (changed(lambda r: setattr(r, "model_name", "x")), NOT_FOUND, "MODEL_NOT_FOUND"),
    "version": (changed(lambda r: setattr(r, "model_version", "2")), NOT_FOUND, "MODEL_NOT_FOUND"),
    "id": (lambda: request([SECRET], id="i" * 1025), INVALID, "ID_TOO_LONG"),
    "no inputs": (pb.ModelInferRequest, INVALID, "UNKNOWN_TENSOR"),
    "titles alone": (lambda: request([SECRET], name="title"), INVALID, "UNKNOWN_TENSOR"),
    "two inputs of texts": (
        with_input("b"),
        INVALID,
        "UNKNOWN_TENSOR",
    ),
    "two inputs of one name": (
        with_input("text"),
        INVALID,
        "UNKNOWN_TENSOR",
    ),
    "unknown output": (changed(lambda r: r.outputs.add(name="x")), INVALID, "UNKNOWN_TENSOR"),
    "datatype": (
        changed(lambda r: setattr(r.inputs[0], "datatype", "FP32")),
        INVALID,
        "INVALID_TENSOR",
    ),
    "no datatype": (
        changed(lambda r: r.inputs[0].ClearField("datatype")),
        INVALID,
        "INVALID_TENSOR",
    ),
    "no shape": (lambda: request([SECRET], shape=[]), INVALID, "INVALID_TENSOR"),
    "negative shape": (lambda: request([SECRET], shape=[-1]), INVALID, "INVALID_TENSOR"),
    "a matrix": (lambda: request([SECRET] * 2, shape=[1, 2]), INVALID, "INVALID_TENSOR"),
    "three sizes": (lambda: request([SECRET] * 2, shape=[2, 1, 1]), INVALID, "INVALID_TENSOR"),
    "shape too large": (lambda: request([SECRET] * 2, shape=[3]), INVALID, "INVALID_TENSOR"),
    "shape too small": (lambda: request([SECRET] * 2, shape=[1]), INVALID, "INVALID_TENSOR"),
    "contents too few": (
        lambda: request([SECRET], shape=[2], raw=False),
        INVALID,
        "INVALID_TENSOR",
    ),
    "contents too many": (
        lambda: request([SECRET] * 3, shape=[2], raw=False),
        INVALID,
        "INVALID_TENSOR",
    ),
    "nothing sent": (
        changed(lambda r: r.ClearField("raw_input_contents")),
        INVALID,
        "INVALID_TENSOR",
    ),
    "raw and contents": (
        changed(lambda r: r.inputs[0].contents.bytes_contents.append(b"a")),
        INVALID,
        "INVALID_TENSOR",
    ),
    "other contents": (
        changed(lambda r: r.inputs[0].contents.int_contents.append(1), raw=False),
        INVALID,
        "INVALID_TENSOR",
    ),
    "raw of another number": (
        changed(lambda r: r.raw_input_contents.append(GOOD)),
        INVALID,
        "INVALID_TENSOR",
    ),
    "raw without the last byte": (with_raw(GOOD[:-1]), INVALID, "MALFORMED_MESSAGE"),
    "raw ends in a size": (with_raw(GOOD + b"\1\0"), INVALID, "MALFORMED_MESSAGE"),
    "raw of a huge size": (
        with_raw(struct.pack("<I", 0xFFFFFFFF) + b"a"),
        INVALID,
        "MALFORMED_MESSAGE",
    ),
    "raw of the wrong byte order": (with_raw(b"\0\0\0\1a\0\0\0\1b"), INVALID, "MALFORMED_MESSAGE"),
    "raw elements more": (with_raw(GOOD + packed(["b"])), INVALID, "INVALID_TENSOR"),
    "raw not UTF-8": (with_raw(packed(["a"]) + b"\2\0\0\0\xff\xfe"), INVALID, "MALFORMED_MESSAGE"),
    "contents not UTF-8": (
        changed(lambda r: r.inputs[0].contents.bytes_contents.__setitem__(1, b"\xc3"), raw=False),
        INVALID,
        "MALFORMED_MESSAGE",
    ),
    "titles of another number": (
        with_input("title", "t"),
        INVALID,
        "INVALID_TENSOR",
    ),
    "titles twice": (
        lambda: request([SECRET], titles=["t"], parameters={"title": "u", "task": "document"}),
        INVALID,
        "INVALID_TENSOR",
    ),
    "too many": (lambda: request([SECRET] * 65), INVALID, "TOO_MANY_INPUTS"),
    "a shape of many": (lambda: request([SECRET], shape=[1 << 60]), INVALID, "TOO_MANY_INPUTS"),
    "shared memory in": (
        changed(
            lambda r: (
                r.inputs[0]
                .parameters["shared_memory_region"]
                .MergeFrom(pb.InferParameter(string_param="r"))
            )
        ),
        INVALID,
        "UNKNOWN_PARAMETER",
    ),
    "classes out": (
        changed(
            lambda r: (
                r.outputs.add(name="embedding")
                .parameters["classification"]
                .MergeFrom(pb.InferParameter(int64_param=2))
            )
        ),
        INVALID,
        "UNKNOWN_PARAMETER",
    ),
}


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Served]:
    with running(str(tiny_checkpoint), max_inputs_per_request=64) as server:
        yield server


@pytest.mark.parametrize(("make", "code", "reason"), BAD.values(), ids=BAD)
def test_what_the_model_does_not_take(
    served: Served, make: Make, code: grpc.StatusCode, reason: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(served.channel, "ModelInfer", make())
    error = failure(caught.value)
    assert (error.code, error.reason) == (code, reason), error.message
    assert SECRET not in error.message and "secret" not in error.message
    # The server is none the worse for it.
    assert len(matrix(call(served.channel, "ModelInfer", request(["a"])))) == 1


def test_a_place_is_named(served: Served) -> None:
    made = request(["a", "b"], raw=False)
    made.inputs[0].contents.bytes_contents[1] = b"\xff"
    with pytest.raises(grpc.RpcError) as caught:
        call(served.channel, "ModelInfer", made)
    error = failure(caught.value)
    assert error.field == "inputs[0][1]" and error.message.startswith("inputs[0][1]: ")


@pytest.mark.parametrize("fields", ["texts", "parameters", "output parameters"])
def test_far_too_many_fields_are_refused_unparsed(served: Served, fields: str) -> None:
    """By what the parser would say too, had it been asked: the message says "far more"."""
    made = request(["a"])
    many = 100_000
    if fields == "texts":
        made = request([], raw=False)
        made.inputs[0].contents.bytes_contents.extend([b""] * many)
    elif fields == "parameters":
        for i in range(many):
            made.inputs[0].parameters[str(i)].bool_param = True
    else:
        parameters = made.outputs.add(name="embedding").parameters
        for i in range(many):
            parameters[str(i)].bool_param = True
    with pytest.raises(grpc.RpcError) as caught:
        call(served.channel, "ModelInfer", made)
    error = failure(caught.value)
    assert error.reason == "TOO_MANY_INPUTS" and "far more" in error.message


def test_bytes_that_are_no_message(served: Served) -> None:
    stub: Any = served.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as caught:
        stub(b"\xff\xff\xff")
    assert failure(caught.value).reason == "MALFORMED_MESSAGE"
