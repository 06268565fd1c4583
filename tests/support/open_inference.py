"""Calls the Open Inference Protocol's service as a client would, with messages made by hand."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from gemwire_compat import open_inference_pb2 as pb
from support import methods

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
Value = str | bool | int | float | pb.InferParameter


def call(channel: grpc.Channel, method: str, request: Any = None, **options: Any) -> Any:
    """The response of a unary method."""
    return methods.call(channel, SERVICE.methods_by_name[method], request, **options)


def stream(channel: grpc.Channel, requests: Iterator[pb.ModelInferRequest], **options: Any) -> Any:
    """A call of ModelStreamInfer: an iterator of its responses."""
    stub = methods.method_over(channel, SERVICE.methods_by_name["ModelStreamInfer"])
    return stub(requests, timeout=methods.WAIT, **options)


def parameter(value: Value) -> pb.InferParameter:
    match value:
        case bool():
            return pb.InferParameter(bool_param=value)
        case int():
            return pb.InferParameter(int64_param=value)
        case float():
            return pb.InferParameter(double_param=value)
        case str():
            return pb.InferParameter(string_param=value)
    return value


def packed(elements: Sequence[str]) -> bytes:
    """Raw contents of a tensor of BYTES."""
    encoded = [element.encode() for element in elements]
    return b"".join(struct.pack("<I", len(each)) + each for each in encoded)


def request(
    texts: Sequence[str],
    *,
    titles: Sequence[str] | None = None,
    raw: bool = True,
    shape: Sequence[int] | None = None,
    name: str = "text",
    id: str = "",
    parameters: Mapping[str, Value] | None = None,
) -> pb.ModelInferRequest:
    """A request for the embeddings of texts."""
    made = pb.ModelInferRequest(model_name="tiny", id=id)
    for key, value in (parameters or {}).items():
        made.parameters[key].CopyFrom(parameter(value))
    tensors = {name: texts} | ({} if titles is None else {"title": titles})
    for tensor_name, elements in tensors.items():
        tensor = made.inputs.add(name=tensor_name, datatype="BYTES")
        tensor.shape.extend([len(elements)] if shape is None else shape)
        if raw:
            made.raw_input_contents.append(packed(elements))
        else:
            tensor.contents.bytes_contents.extend(each.encode() for each in elements)
    return made


def matrix(response: pb.ModelInferResponse) -> NDArray[np.float32]:
    """The output `embedding`."""
    (output,), (raw,) = response.outputs, response.raw_output_contents
    assert (output.name, output.datatype) == ("embedding", "FP32")
    assert not output.HasField("contents")
    return np.frombuffer(raw, "<f4").reshape(output.shape)
