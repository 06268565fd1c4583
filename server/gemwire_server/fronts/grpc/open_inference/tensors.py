"""Reads the texts of a request out of its tensors.

An error names the place of an element and never quotes it.
"""

import struct
from collections.abc import Iterator, Sequence

from gemwire_compat import open_inference_pb2 as pb
from gemwire_server.errors import InvalidInput
from gemwire_server.fronts.grpc.open_inference.parameters import check_tensor_parameters
from gemwire_server.service.requests import Input
from gemwire_server.service.service import Service

TEXT, TITLE, EMBEDDING = "text", "title", "embedding"
"""The names of the model's tensors."""
BYTES, FP32 = "BYTES", "FP32"
CONTENTS = "bytes_contents"
# The size of an element in raw contents.
SIZE = struct.Struct("<I")

Tensor = pb.ModelInferRequest.InferInputTensor


def read_inputs(
    request: pb.ModelInferRequest, service: Service, title: str
) -> tuple[list[Input], list[str]]:
    """The texts of a request, and the path of each in errors. `title` is the parameter.

    Raises InvalidInput for tensors that ModelMetadata does not describe, and for too many texts.
    """
    if request.raw_input_contents and len(request.raw_input_contents) != len(request.inputs):
        raise _invalid(
            f"there are {len(request.inputs)} inputs and {len(request.raw_input_contents)} raw contents",
            "raw_input_contents",
        )
    of_texts, of_titles = _places(request.inputs)
    texts = list(_elements(request, of_texts, service))
    paths = [f"inputs[{of_texts}][{i}]" for i in range(len(texts))]
    if of_titles is None:
        return [Input(text, title=title) for text in texts], paths
    if title:
        raise _invalid("titles are an input and a parameter: send one of them", "parameters.title")
    titles = list(_elements(request, of_titles, service))
    if len(titles) != len(texts):
        raise _invalid(
            f"there are {len(titles)} titles for {len(texts)} texts", f"inputs[{of_titles}].shape"
        )
    return [Input(text, title=each) for text, each in zip(texts, titles, strict=True)], paths


def check_outputs(request: pb.ModelInferRequest) -> None:
    """Raises InvalidInput for an output that the model does not have."""
    for i, output in enumerate(request.outputs):
        if output.name != EMBEDDING:
            raise InvalidInput(
                "UNKNOWN_TENSOR",
                f"the model has no output of this name; it has {EMBEDDING}",
                field=f"outputs[{i}].name",
            )
        check_tensor_parameters(output.parameters, f"outputs[{i}]")


def _places(inputs: Sequence[Tensor]) -> tuple[int, int | None]:
    """The places of the texts, whatever their name, and of their titles."""
    of_titles = [i for i, tensor in enumerate(inputs) if tensor.name == TITLE]
    of_texts = [i for i, tensor in enumerate(inputs) if tensor.name != TITLE]
    if len(of_texts) != 1 or len(of_titles) > 1:
        raise InvalidInput(
            "UNKNOWN_TENSOR",
            f"the inputs are {TEXT}, or one of another name, and if wanted {TITLE}; this request has "
            f"{len(of_texts)} of texts and {len(of_titles)} of titles",
            field="inputs",
        )
    return of_texts[0], of_titles[0] if of_titles else None


def _elements(request: pb.ModelInferRequest, place: int, service: Service) -> Iterator[str]:
    """The elements of an input."""
    tensor, path = request.inputs[place], f"inputs[{place}]"
    check_tensor_parameters(tensor.parameters, path)
    if tensor.datatype != BYTES:
        raise _invalid(f"the datatype of {path} is not {BYTES}", f"{path}.datatype")
    shape = tensor.shape
    if len(shape) not in (1, 2) or shape[0] < 0 or shape[1:] not in ([], [1]):
        raise _invalid(f"the shape of {path} is neither [n] nor [n, 1]", f"{path}.shape")
    count = shape[0]
    service.check_count(count, "inputs")
    raw = request.raw_input_contents[place] if request.raw_input_contents else None
    for i, element in enumerate(_contents(tensor, raw, count, path)):
        try:
            yield element.decode()
        except UnicodeDecodeError:
            raise InvalidInput(
                "MALFORMED_MESSAGE", "the element is not UTF-8", field=f"{path}[{i}]"
            ) from None


def _contents(tensor: Tensor, raw: bytes | None, count: int, path: str) -> Sequence[bytes]:
    """The bytes of `count` elements, from the one place where they are."""
    fields = [field.name for field, _ in tensor.contents.ListFields()]
    if raw is not None and fields:
        raise _invalid(
            f"{path} has elements in raw_input_contents and in contents: send them once",
            f"{path}.contents",
        )
    if fields not in ([], [CONTENTS]):
        raise _invalid(f"{path}.contents has other elements than {CONTENTS}", f"{path}.contents")
    elements = tensor.contents.bytes_contents if raw is None else _unpacked(raw, count, path)
    if len(elements) != count:
        raise _invalid(
            f"the shape of {path} has {count} elements, and another number was sent",
            f"{path}.shape",
        )
    return elements


def _unpacked(raw: bytes, count: int, path: str) -> list[bytes]:
    """The elements in raw contents. It reads at most one more than `count`."""
    elements: list[bytes] = []
    at = 0
    while at < len(raw) and len(elements) <= count:
        if at + SIZE.size > len(raw):
            raise _cut(len(elements), path)
        (size,) = SIZE.unpack_from(raw, at)
        at += SIZE.size
        if at + size > len(raw):
            raise _cut(len(elements), path)
        elements.append(raw[at : at + size])
        at += size
    return elements


def _cut(place: int, path: str) -> InvalidInput:
    return InvalidInput(
        "MALFORMED_MESSAGE",
        f"the raw contents of {path} end within element {place}: an element is its size in four bytes, "
        "the lowest first, and so many bytes",
        field="raw_input_contents",
    )


def _invalid(message: str, field: str) -> InvalidInput:
    return InvalidInput("INVALID_TENSOR", message, field=field)
