"""ModelService: what is served, and within which limits."""

from typing import Protocol

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server import __version__
from gemwire_server.checkpoints import Checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import InvalidInput
from gemwire_server.fronts.grpc.gemwire_v1.messages import TASK_NAMES, ServedModel, check_model
from gemwire_server.service.call import Call


class Described(Protocol):
    """What is told of where the model runs."""

    @property
    def dtype_name(self) -> str: ...

    @property
    def description(self) -> str: ...


class ModelService:
    """GetModel and ListModels of a server with one model."""

    def __init__(self, model: pb.Model, served: ServedModel) -> None:
        self._model = model
        self._served = served

    async def get_model(self, request: pb.GetModelRequest, _: Call) -> pb.GetModelResponse:
        check_model(request.name, self._served)
        return pb.GetModelResponse(model=self._model)

    async def list_models(self, request: pb.ListModelsRequest, _: Call) -> pb.ListModelsResponse:
        if request.page_token:
            raise InvalidInput(
                "UNKNOWN_PAGE_TOKEN", "this server gave no such page_token", field="page_token"
            )
        if request.page_size < 0:
            raise InvalidInput("NEGATIVE_PAGE_SIZE", "page_size is negative", field="page_size")
        return pb.ListModelsResponse(models=[self._model])


def describe(checkpoint: Checkpoint, runner: Described, config: ServerConfig) -> pb.Model:
    """What the API says of a model that is served. Reads the weights' files, for their digest."""
    return pb.Model(
        name=f"models/{checkpoint.name}",
        display_name=checkpoint.name,
        revision=checkpoint.revision(),
        dtype=runner.dtype_name,
        dimensions=checkpoint.dimensions[0],
        supported_dimensions=checkpoint.dimensions,
        default_dimensions=checkpoint.default_dimensions,
        max_input_tokens=checkpoint.max_tokens,
        supported_tasks=TASK_NAMES,
        default_task=f"TASK_TYPE_{config.default_task.upper() or 'UNSPECIFIED'}",
        prompts=checkpoint.prompts.prompts,
        supported_encodings=[name for name, number in pb.VectorEncoding.items() if number],
        limits=pb.Limits(
            max_inputs_per_request=config.max_inputs_per_request,
            max_request_bytes=config.max_request_bytes,
            max_response_bytes=config.max_response_bytes,
            max_batch_tokens=config.max_batch_tokens,
            max_queue_tokens=config.max_queue_tokens,
            max_stream_inflight_inputs=config.max_stream_inflight_inputs,
        ),
        server_version=__version__,
        vocabulary_size=checkpoint.config.vocab_size,
        engine=runner.description,
    )
