"""The API tei.v1: its services, made of the methods beside this file."""

from collections.abc import Collection, Mapping
from functools import partial

from gemwire_compat import tei_pb2 as pb
from gemwire_server.config.options import ServerConfig
from gemwire_server.dialects.tei.errors import worded
from gemwire_server.dialects.tei.info import Info
from gemwire_server.dialects.tei.requests import Checks
from gemwire_server.dialects.tei.tokens import Tokens
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.grpc.handlers import Method
from gemwire_server.fronts.grpc.tei_v1 import unserved
from gemwire_server.fronts.grpc.tei_v1.embedding import EmbedService
from gemwire_server.fronts.grpc.tei_v1.messages import info_response
from gemwire_server.fronts.grpc.tei_v1.stream import StreamService
from gemwire_server.fronts.grpc.tei_v1.tokenizing import TokenizeService
from gemwire_server.service.call import Call
from gemwire_server.service.service import Service

# An answer to EmbedAll has megabytes: so many of a stream wait to be written at most.
INFLIGHT_OF_ALL = 8
# A character becomes a token with its place, and an id of a byte the longest piece of the vocabulary.
GROWTH_OF_TOKENS = 32


class TeiV1:
    """Satisfies `fronts.grpc.api.GrpcApi`."""

    file = pb.DESCRIPTOR
    unserved: Collection[str] = ("tei.v1.Predict", "tei.v1.Rerank")

    def __init__(self, service: Service, config: ServerConfig) -> None:
        checks = Checks(service)
        tokens = Tokens(service, checks, max_response_bytes=config.max_response_bytes)
        embed = EmbedService(service, config, checks)
        tokenize = TokenizeService(service, tokens)
        self._info = info_response(Info.of(service.model, config))
        self._streams = StreamService(service, config)
        stream = partial(partial, self._streams.answer)
        self.methods: Mapping[str, Mapping[str, Method]] = {
            "Info": {"Info": self._describe},
            "Embed": {
                "Embed": embed.embed,
                "EmbedStream": stream(pb.EmbedRequest, embed.embed_group),
                "EmbedSparse": unserved.embed_sparse,
                "EmbedSparseStream": stream(pb.EmbedSparseRequest, unserved.embed_sparse_group),
                "EmbedAll": embed.embed_all,
                "EmbedAllStream": stream(
                    pb.EmbedAllRequest, embed.embed_all_group, max_inflight=INFLIGHT_OF_ALL
                ),
            },
            "Predict": {
                "Predict": unserved.predict,
                "PredictPair": unserved.predict_pair,
                "PredictStream": stream(pb.PredictRequest, unserved.predict_group),
                "PredictPairStream": stream(pb.PredictPairRequest, unserved.predict_pair_group),
            },
            "Rerank": {"Rerank": unserved.rerank, "RerankStream": unserved.rerank_stream},
            "Tokenize": {
                "Tokenize": tokenize.tokenize,
                "TokenizeStream": stream(
                    pb.EncodeRequest, tokenize.tokenize_group, growth=GROWTH_OF_TOKENS
                ),
                "Decode": tokenize.decode,
                "DecodeStream": stream(
                    pb.DecodeRequest, tokenize.decode_group, growth=GROWTH_OF_TOKENS
                ),
            },
        }

    async def _describe(self, _: pb.InfoRequest, __: Call) -> pb.InfoResponse:
        return self._info

    @staticmethod
    def wording(error: GemwireError) -> tuple[str, str]:
        """The code and the message that TEI answers with."""
        if error.reason == "MALFORMED_MESSAGE":
            return "INTERNAL", f"failed to decode Protobuf message: {error.message}"
        in_words = worded(error)
        return in_words.code, in_words.message

    def drain(self) -> None:
        """Ends open streams once what was read of them is answered."""
        self._streams.drain()
