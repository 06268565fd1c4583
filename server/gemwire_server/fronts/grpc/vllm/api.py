"""The API `vllm.grpc.engine`: its service, made of the methods beside this file."""

from collections.abc import Collection, Mapping

from gemwire_compat import vllm_engine_pb2 as pb
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.grpc.handlers import Method
from gemwire_server.fronts.grpc.status import own_wording
from gemwire_server.fronts.grpc.vllm.engine import VllmEngine
from gemwire_server.service.service import Service


class Vllm:
    """Satisfies `fronts.grpc.api.GrpcApi`."""

    file = pb.DESCRIPTOR
    unserved: Collection[str] = ()

    def __init__(self, service: Service, config: ServerConfig) -> None:
        engine = VllmEngine(service)
        self.methods: Mapping[str, Mapping[str, Method]] = {
            "VllmEngine": {
                "Generate": engine.generate,
                "Embed": engine.embed,
                "HealthCheck": engine.health_check,
                "Abort": engine.abort,
                "GetModelInfo": engine.get_model_info,
                "GetServerInfo": engine.get_server_info,
            }
        }

    @staticmethod
    def wording(error: GemwireError) -> tuple[str, str]:
        return own_wording(error)

    def drain(self) -> None:
        """Nothing to do: there are no streams."""
