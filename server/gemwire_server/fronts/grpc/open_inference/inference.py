"""ModelInfer: from a request to its response."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gemwire_compat import open_inference_pb2 as pb
from gemwire_server.errors import InvalidInput, response_too_large
from gemwire_server.fronts.grpc.message_limits import Layout
from gemwire_server.fronts.grpc.open_inference.model import VERSION, check_served
from gemwire_server.fronts.grpc.open_inference.parameters import path_of, read_options
from gemwire_server.fronts.grpc.open_inference.statistics import Statistics
from gemwire_server.fronts.grpc.open_inference.tensors import (
    EMBEDDING,
    FP32,
    check_outputs,
    read_inputs,
)
from gemwire_server.service.call import Call
from gemwire_server.service.requests import CheckedOptions, Input
from gemwire_server.service.service import Service
from gemwire_server.service.vectors import VectorFormat, cut

FIELD = "inputs"
"""All texts of a request, in errors."""

_REQUEST, _TENSOR = pb.ModelInferRequest, pb.ModelInferRequest.InferInputTensor
LAYOUT = Layout(
    nested={
        _REQUEST.INPUTS_FIELD_NUMBER: {_TENSOR.CONTENTS_FIELD_NUMBER: {}},
        _REQUEST.OUTPUTS_FIELD_NUMBER: {},
    },
    fields_per_input=2,  # a text and its title
)
# Bytes of a response beside its matrix, the request's id and the model's name, at most.
BESIDE_MATRIX = 256


# Of each unanswered request of a stream the id is kept.
MAX_ID_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class Inference:
    """A request that was read and checked. `paths` name its texts in errors."""

    id: str
    inputs: Sequence[Input]
    paths: Sequence[str]
    options: CheckedOptions


class Inferences:
    """Reads requests and writes responses, for ModelInfer and for streams of it."""

    def __init__(
        self, service: Service, statistics: Statistics, *, max_response_bytes: int
    ) -> None:
        self._service = service
        self._statistics = statistics
        self._max_response_bytes = max_response_bytes

    def read(self, request: pb.ModelInferRequest) -> Inference:
        """Raises NotFound for another model, and InvalidInput for what the server cannot do, also for
        a response that would be too large."""
        _check_id(request.id)
        check_served(request.model_name, request.model_version, self._service.model)
        unchecked, title = read_options(request.parameters)
        options = self._service.check(unchecked, path_of)
        check_outputs(request)
        inputs, paths = read_inputs(request, self._service, title)
        self._check_response(request, len(inputs), options.vectors.vector_bytes)
        return Inference(request.id, inputs, paths, options)

    def _check_response(self, request: pb.ModelInferRequest, count: int, vector_bytes: int) -> None:
        beside = BESIDE_MATRIX + len(request.id.encode()) + len(self._service.model.name.encode())
        most = max(0, self._max_response_bytes - beside) // vector_bytes
        if count > most:
            raise response_too_large(
                f"the response to {count} texts has too many bytes",
                self._max_response_bytes,
                f"send at most {most} at once, or ask for fewer dimensions",
                field=FIELD,
                count=count,
                most=most,
            )

    async def model_infer(self, request: pb.ModelInferRequest, call: Call) -> pb.ModelInferResponse:
        with self._statistics.request(call.arrived):
            read = self.read(request)
            results, _ = await self._service.embed(
                read.inputs, read.options, call, read.paths, FIELD
            )
            results.raise_first_error()
            return self.response(read.id, read.options.vectors, results.vectors)

    def response(
        self, id: str, form: VectorFormat, vectors: NDArray[np.float32]
    ) -> pb.ModelInferResponse:
        """The response to the request with this id; `vectors` are fp32 [n, full size]."""
        matrix = cut(vectors, form)
        self._statistics.texts += len(matrix)
        tensor = pb.ModelInferResponse.InferOutputTensor(
            name=EMBEDDING, datatype=FP32, shape=matrix.shape
        )
        return pb.ModelInferResponse(
            model_name=self._service.model.name,
            model_version=VERSION,
            id=id,
            outputs=[tensor],
            raw_output_contents=[matrix.astype("<f4", copy=False).tobytes()],
        )


def _check_id(id: str) -> None:
    if len(id) > MAX_ID_CHARACTERS:
        raise InvalidInput(
            "ID_TOO_LONG",
            f"the id has {len(id)} characters; the limit is {MAX_ID_CHARACTERS}",
            field="id",
        )
