"""The APIs that the gRPC front serves, each in a folder beside this file."""

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.grpc.gemwire_v1.api import GemwireV1
from gemwire_server.fronts.grpc.handlers import Method
from gemwire_server.fronts.grpc.open_inference.api import OpenInference
from gemwire_server.fronts.grpc.tei_v1.api import TeiV1
from gemwire_server.fronts.grpc.vllm.api import Vllm
from gemwire_server.service.service import Service


class GrpcApi(Protocol):
    """An API of the gRPC front; it is made once the service is open."""

    file: FileDescriptor
    """The .proto of the API; the API is named by its package."""
    methods: Mapping[str, Mapping[str, Method]]
    """Every method by the names of its service and its own."""
    unserved: Collection[str]
    """Full names of services that this model has nothing for: their health is always NOT_SERVING."""

    def __init__(self, service: Service, config: ServerConfig) -> None: ...

    @staticmethod
    def wording(error: GemwireError) -> tuple[str, str]:
        """The name of the code, and the message, with which callers of this API get an error."""

    def drain(self) -> None:
        """Asks the clients of open streams to go elsewhere."""


APIS: tuple[type[GrpcApi], ...] = (GemwireV1, TeiV1, OpenInference, Vllm)
"""Health, reflection and metrics follow from this list."""


def served_services() -> Iterator[ServiceDescriptor]:
    """The services of every API."""
    for api in APIS:
        yield from api.file.services_by_name.values()
