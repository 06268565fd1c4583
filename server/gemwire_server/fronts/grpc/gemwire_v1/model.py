"""ModelService: the model that is served, and the limits of requests."""

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server import __version__
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import CheckpointError, InvalidInput
from gemwire_server.fronts.grpc.gemwire_v1.messages import TASK_NAMES
from gemwire_server.served_model import ServedModel
from gemwire_server.service.call import Call
from gemwire_server.service.requests import check_model

# Bytes of an answer beside the model that it describes: a tag and a length.
MODEL_OVERHEAD = 6


class ModelService:
    """GetModel and ListModels of a server with one model."""

    def __init__(self, served: ServedModel, config: ServerConfig) -> None:
        """Raises CheckpointError for a model whose description no client may receive.

        Every client asks for the model first: without that answer it learns of no limit.
        """
        self._served = served
        self._model = describe(served, config)
        if (size := self._model.ByteSize() + MODEL_OVERHEAD) > config.max_response_bytes:
            raise CheckpointError(
                f"{config.model}: GetModel, which lists its prompts, takes {size} bytes; "
                f"--max-response-bytes is {config.max_response_bytes}: raise it, or shorten the prompts"
            )

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


def describe(model: ServedModel, config: ServerConfig) -> pb.Model:
    """The model as the API describes it. `config` has the tokens of a step that suit the device."""
    return pb.Model(
        name=f"models/{model.name}",
        display_name=model.name,
        revision=model.revision,
        dtype=model.dtype,
        dimensions=model.dimensions[0],
        supported_dimensions=model.dimensions,
        default_dimensions=model.default_dimensions,
        max_input_tokens=model.max_tokens,
        supported_tasks=TASK_NAMES,
        default_task=f"TASK_TYPE_{model.default_task.upper() or 'UNSPECIFIED'}",
        prompts=model.prompts.prompts,
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
        vocabulary_size=model.vocabulary_size,
        engine=model.engine,
    )
