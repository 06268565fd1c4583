"""The methods of VllmEngine."""

import time
from typing import NoReturn

from gemwire_compat import vllm_engine_pb2 as pb
from gemwire_server.errors import Unsupported
from gemwire_server.fronts.grpc.records import field
from gemwire_server.service.call import Call
from gemwire_server.service.requests import EmbedOptions, Input
from gemwire_server.service.service import Service
from gemwire_server.service.vectors import cut, little_endian

EMBEDDING = b"\x0a"  # the tag of EmbedResponse.embedding, packed
FIELD = "tokenized"
SERVER_TYPE = "gemwire"


class VllmEngine:
    """Embeds with the server's default prompt and size."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._started = time.monotonic()
        self._last_embed = 0.0

    async def embed(self, request: pb.EmbedRequest, call: Call) -> bytes:
        self._last_embed = time.time()
        options = self._service.check(EmbedOptions())
        inputs = [_read(request.tokenized)]
        results, _ = await self._service.embed(inputs, options, call, [FIELD], FIELD)
        results.raise_first_error()
        vectors = cut(results.vectors, options.vectors)
        # The bytes of a packed field: protobuf's Python would write it number by number.
        packed = little_endian(vectors, "<f4").tobytes()
        rest = pb.EmbedResponse(
            prompt_tokens=int(results.token_counts[0]), embedding_dim=vectors.shape[1]
        )
        return field(EMBEDDING, packed) + rest.SerializeToString()

    async def generate(self, _: pb.GenerateRequest, __: Call) -> NoReturn:
        raise Unsupported(
            "UNSUPPORTED_METHOD", "the served model embeds texts and generates none: call Embed"
        )

    async def health_check(self, _: pb.HealthCheckRequest, __: Call) -> pb.HealthCheckResponse:
        healthy = self._service.is_serving
        return pb.HealthCheckResponse(
            healthy=healthy, message="" if healthy else "the server is not serving"
        )

    async def abort(self, _: pb.AbortRequest, __: Call) -> pb.AbortResponse:
        return pb.AbortResponse()

    async def get_model_info(self, _: pb.GetModelInfoRequest, __: Call) -> pb.GetModelInfoResponse:
        model = self._service.model
        return pb.GetModelInfoResponse(
            model_path=model.name,
            max_context_length=model.max_tokens,
            vocab_size=model.vocabulary_size,
        )

    async def get_server_info(
        self, _: pb.GetServerInfoRequest, __: Call
    ) -> pb.GetServerInfoResponse:
        return pb.GetServerInfoResponse(
            active_requests=self._service.active_calls - 1,
            is_paused=not self._service.is_serving,
            last_receive_timestamp=self._last_embed,
            uptime_seconds=time.monotonic() - self._started,
            server_type=SERVER_TYPE,
        )


def _read(tokenized: pb.TokenizedInput) -> Input:
    if tokenized.input_ids:
        return Input(ids=tokenized.input_ids, complete=True)
    return Input(tokenized.original_text)
