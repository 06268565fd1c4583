"""OpenAI's API: its methods, made of the files beside this one."""

from collections.abc import Mapping, Sequence
from typing import Any

from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.http.methods import Handle, HttpMethod
from gemwire_server.fronts.http.openai.document import describe
from gemwire_server.fronts.http.openai.embeddings import Embeddings
from gemwire_server.fronts.http.openai.errors import refusal
from gemwire_server.fronts.http.openai.models import Models
from gemwire_server.fronts.http.openai.names import ModelNames
from gemwire_server.service.service import Service


class OpenAI:
    """Satisfies `fronts.http.api.HttpApi`."""

    name = "openai.v1"
    methods: Sequence[HttpMethod] = (
        # Some clients leave out the version.
        HttpMethod("embeddings", "POST", ("/v1/embeddings", "/embeddings"), json_only=True),
        HttpMethod("models", "GET", ("/v1/models",)),
        HttpMethod("model", "GET", ("/v1/models/{model:path}",)),
    )

    def __init__(self, service: Service, config: ServerConfig) -> None:
        names = ModelNames(service.model.name)
        models = Models(service, names)
        self.handles: Mapping[str, Handle] = {
            "embeddings": Embeddings(service, config, names).create,
            "models": models.list,
            "model": models.retrieve,
        }
        self.document: Mapping[str, Any] = describe(service.model, config, names)

    @staticmethod
    def refusal(error: GemwireError) -> tuple[int, bytes]:
        return refusal(error)
