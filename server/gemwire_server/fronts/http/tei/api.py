"""The API of TEI over HTTP: its methods, made of the files beside this one."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gemwire_server.config.options import ServerConfig
from gemwire_server.dialects.tei.embedding import Embedding
from gemwire_server.dialects.tei.info import Info
from gemwire_server.dialects.tei.requests import Checks
from gemwire_server.dialects.tei.tokens import Tokens
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.http.bodies import MAX_VALUES
from gemwire_server.fronts.http.methods import Handle, HttpMethod
from gemwire_server.fronts.http.tei.document import describe
from gemwire_server.fronts.http.tei.embedding import EmbedRoutes
from gemwire_server.fronts.http.tei.errors import refusal
from gemwire_server.fronts.http.tei.tokenizing import TokenRoutes
from gemwire_server.fronts.http.tei.unserved import UnservedRoutes
from gemwire_server.service.call import Call
from gemwire_server.service.service import Service


class Tei:
    """Satisfies `fronts.http.api.HttpApi`."""

    name = "tei.http"
    methods: Sequence[HttpMethod] = (
        HttpMethod("embed", "POST", ("/embed", "/", "/invocations"), json_only=True),
        HttpMethod("embed_all", "POST", ("/embed_all",), json_only=True),
        HttpMethod("embed_sparse", "POST", ("/embed_sparse",), json_only=True),
        HttpMethod("similarity", "POST", ("/similarity",), json_only=True),
        HttpMethod("predict", "POST", ("/predict",), json_only=True),
        HttpMethod("rerank", "POST", ("/rerank",), json_only=True),
        HttpMethod("tokenize", "POST", ("/tokenize",), json_only=True),
        HttpMethod("decode", "POST", ("/decode",), json_only=True),
        HttpMethod("info", "GET", ("/info",)),
    )

    def __init__(self, service: Service, config: ServerConfig) -> None:
        checks = Checks(service)
        # A request of more ids than the queue takes would be refused.
        max_values = MAX_VALUES + service.max_inputs + config.max_queue_tokens
        limit = config.max_response_bytes
        embed = EmbedRoutes(
            service, Embedding(service, checks), max_values=max_values, max_response_bytes=limit
        )
        tokens = Tokens(service, checks, max_response_bytes=limit)
        tokenize = TokenRoutes(service, tokens, max_values=max_values)
        unserved = UnservedRoutes(max_values)
        self._info = _info(Info.of(service.model, config))
        self.handles: Mapping[str, Handle] = {
            "embed": embed.embed,
            "embed_all": embed.embed_all,
            "embed_sparse": unserved.embed_sparse,
            "similarity": embed.similarity,
            "predict": unserved.predict,
            "rerank": unserved.rerank,
            "tokenize": tokenize.tokenize,
            "decode": tokenize.decode,
            "info": self._describe,
        }
        self.document: Mapping[str, Any] = describe(service.model, config)

    async def _describe(self, _: bytes, __: Call) -> bytes:
        return self._info

    @staticmethod
    def refusal(error: GemwireError) -> tuple[int, bytes]:
        return refusal(error)


def _info(info: Info) -> bytes:
    return orjson.dumps(
        {
            "model_id": info.model_id,
            "model_sha": info.model_sha,
            "model_dtype": info.model_dtype,
            "served_model_name": info.model_id,
            "model_type": {"embedding": {"pooling": "mean"}},
            "max_concurrent_requests": info.max_concurrent_requests,
            "max_input_length": info.max_input_length,
            "max_batch_tokens": info.max_batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": info.max_client_batch_size,
            "auto_truncate": True,
            "tokenization_workers": info.tokenization_workers,
            "version": info.version,
            "sha": None,
            "docker_label": None,
        }
    )
