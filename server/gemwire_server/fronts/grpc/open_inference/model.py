"""The methods that describe the server and its model."""

from gemwire_compat import open_inference_pb2 as pb
from gemwire_server import __version__
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import NotFound
from gemwire_server.fronts.grpc.open_inference.statistics import Statistics
from gemwire_server.fronts.grpc.open_inference.tensors import BYTES, EMBEDDING, FP32, TEXT, TITLE
from gemwire_server.served_model import ServedModel
from gemwire_server.service.call import Call
from gemwire_server.service.requests import check_model
from gemwire_server.service.service import Service

SERVER = "gemwire"
VERSION = "1"
"""The version of the served model: Triton's clients take whole numbers for versions."""
EXTENSIONS = ("model_configuration", "model_repository", "statistics")

TensorMetadata = pb.ModelMetadataResponse.TensorMetadata


def check_served(name: str, version: str, model: ServedModel) -> None:
    """Raises NotFound unless the model is the served one. Both names may be empty."""
    check_model(name, model)
    if version not in ("", VERSION):
        raise NotFound("MODEL_NOT_FOUND", f"no such version; the model has version {VERSION}")


class ModelMethods:
    """Every unary method but ModelInfer."""

    def __init__(self, service: Service, config: ServerConfig, statistics: Statistics) -> None:
        self._service = service
        self._model = service.model
        self._config = describe(service.model, config)
        self._statistics = statistics

    async def server_live(self, _: pb.ServerLiveRequest, __: Call) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, _: pb.ServerReadyRequest, __: Call) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._service.is_serving)

    async def model_ready(self, request: pb.ModelReadyRequest, _: Call) -> pb.ModelReadyResponse:
        try:
            check_served(request.name, request.version, self._model)
        except NotFound:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=self._service.is_serving)

    async def server_metadata(
        self, _: pb.ServerMetadataRequest, __: Call
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name=SERVER, version=__version__, extensions=EXTENSIONS)

    async def model_metadata(
        self, request: pb.ModelMetadataRequest, _: Call
    ) -> pb.ModelMetadataResponse:
        check_served(request.name, request.version, self._model)
        return pb.ModelMetadataResponse(
            name=self._model.name,
            versions=[VERSION],
            platform=SERVER,
            inputs=[
                TensorMetadata(name=TEXT, datatype=BYTES, shape=[-1, 1]),
                TensorMetadata(name=TITLE, datatype=BYTES, shape=[-1, 1]),
            ],
            outputs=[TensorMetadata(name=EMBEDDING, datatype=FP32, shape=[-1, -1])],
        )

    async def model_config(self, request: pb.ModelConfigRequest, _: Call) -> pb.ModelConfigResponse:
        check_served(request.name, request.version, self._model)
        return pb.ModelConfigResponse(config=self._config)

    async def model_statistics(
        self, request: pb.ModelStatisticsRequest, _: Call
    ) -> pb.ModelStatisticsResponse:
        check_served(request.name, request.version, self._model)
        message = self._statistics.message(self._model.name, VERSION)
        return pb.ModelStatisticsResponse(model_stats=[message])

    async def repository_index(
        self, request: pb.RepositoryIndexRequest, _: Call
    ) -> pb.RepositoryIndexResponse:
        serving = self._service.is_serving
        response = pb.RepositoryIndexResponse()
        if serving or not request.ready:
            response.models.add(
                name=self._model.name,
                version=VERSION,
                state="READY" if serving else "UNAVAILABLE",
                reason="" if serving else "the server is not serving",
            )
        return response


def describe(model: ServedModel, config: ServerConfig) -> pb.ModelConfig:
    """The model as Triton would configure it."""
    parameters = {
        "revision": model.revision,
        "dimensions": str(model.default_dimensions),
        "supported_dimensions": ",".join(map(str, model.dimensions)),
    }
    return pb.ModelConfig(
        name=model.name,
        platform=SERVER,
        backend=SERVER,
        max_batch_size=config.max_inputs_per_request,
        input=[
            pb.ModelInput(name=TEXT, data_type=pb.TYPE_STRING, dims=[1]),
            pb.ModelInput(name=TITLE, data_type=pb.TYPE_STRING, dims=[1], optional=True),
        ],
        output=[pb.ModelOutput(name=EMBEDDING, data_type=pb.TYPE_FP32, dims=[-1])],
        parameters={
            name: pb.ModelParameter(string_value=value) for name, value in parameters.items()
        },
    )
