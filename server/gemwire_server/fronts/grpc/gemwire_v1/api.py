"""The API gemwire.v1: its services, made of the methods beside this file."""

import logging
from collections.abc import Collection, Mapping

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.grpc.gemwire_v1.embedding import EmbeddingService
from gemwire_server.fronts.grpc.gemwire_v1.model import ModelService
from gemwire_server.fronts.grpc.gemwire_v1.stream import StreamService
from gemwire_server.fronts.grpc.gemwire_v1.wire import results_that_fit
from gemwire_server.fronts.grpc.handlers import Method
from gemwire_server.fronts.grpc.status import own_wording
from gemwire_server.service.service import Service
from gemwire_server.service.vectors import VectorFormat

log = logging.getLogger(__name__)


class GemwireV1:
    """Satisfies `fronts.grpc.api.GrpcApi`."""

    file = pb.DESCRIPTOR
    unserved: Collection[str] = ()

    def __init__(self, service: Service, config: ServerConfig) -> None:
        """Raises CheckpointError for a model that the API cannot describe."""
        embedding = EmbeddingService(service, max_response_bytes=config.max_response_bytes)
        models = ModelService(service.model, config)
        self._streams = StreamService(service, config)
        self.methods: Mapping[str, Mapping[str, Method]] = {
            "EmbeddingService": {
                "Embed": embedding.embed,
                "BatchEmbed": embedding.batch_embed,
                "EmbedStream": self._streams.embed_stream,
                "ComputeSimilarity": embedding.compute_similarity,
                "Tokenize": embedding.tokenize,
                "Detokenize": embedding.detokenize,
            },
            "ModelService": {"GetModel": models.get_model, "ListModels": models.list_models},
        }
        self._warn_of_small_answers(service, config)

    def _warn_of_small_answers(self, service: Service, config: ServerConfig) -> None:
        fit = results_that_fit(VectorFormat(service.model.dimensions[0]), config.max_response_bytes)
        if fit < config.max_inputs_per_request:
            log.warning(
                "--max-response-bytes %d holds %d vectors of float32: BatchEmbed of more is refused, "
                "though --max-inputs-per-request is %d",
                config.max_response_bytes,
                fit,
                config.max_inputs_per_request,
            )

    @staticmethod
    def wording(error: GemwireError) -> tuple[str, str]:
        return own_wording(error)

    def drain(self) -> None:
        """Asks the clients of open streams to go elsewhere."""
        self._streams.drain()
