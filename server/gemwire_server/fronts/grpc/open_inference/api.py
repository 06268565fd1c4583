"""The API `inference`: its service, made of the methods beside this file."""

from collections.abc import Collection, Mapping

from gemwire_compat import open_inference_pb2 as pb
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.grpc.handlers import Method, NestedInputs
from gemwire_server.fronts.grpc.open_inference.inference import LAYOUT, Inferences
from gemwire_server.fronts.grpc.open_inference.model import ModelMethods
from gemwire_server.fronts.grpc.open_inference.statistics import Statistics
from gemwire_server.fronts.grpc.open_inference.stream import StreamService
from gemwire_server.fronts.grpc.open_inference.wording import worded
from gemwire_server.service.service import Service


class OpenInference:
    """Satisfies `fronts.grpc.api.GrpcApi`."""

    file = pb.DESCRIPTOR
    unserved: Collection[str] = ()

    def __init__(self, service: Service, config: ServerConfig) -> None:
        statistics = Statistics()
        models = ModelMethods(service, config, statistics)
        inferences = Inferences(service, statistics, max_response_bytes=config.max_response_bytes)
        self._streams = StreamService(service, inferences, statistics, config)
        self.methods: Mapping[str, Mapping[str, Method]] = {
            "GRPCInferenceService": {
                "ServerLive": models.server_live,
                "ServerReady": models.server_ready,
                "ModelReady": models.model_ready,
                "ServerMetadata": models.server_metadata,
                "ModelMetadata": models.model_metadata,
                "ModelInfer": NestedInputs(inferences.model_infer, LAYOUT),
                "ModelStreamInfer": self._streams.model_stream_infer,
                "ModelConfig": models.model_config,
                "ModelStatistics": models.model_statistics,
                "RepositoryIndex": models.repository_index,
            }
        }

    @staticmethod
    def wording(error: GemwireError) -> tuple[str, str]:
        return worded(error)

    def drain(self) -> None:
        """Ends streams once what was read of them is answered."""
        self._streams.drain()
