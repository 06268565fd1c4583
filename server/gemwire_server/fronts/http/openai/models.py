"""GET /v1/models and GET /v1/models/{model}."""

from typing import Any

import orjson

from gemwire_server.fronts.http.openai.names import ModelNames
from gemwire_server.service.call import Call
from gemwire_server.service.service import Service

# 2025-09-04, when EmbeddingGemma was published: a checkpoint does not say when it was made.
CREATED = 1756944000
OWNER = "gemwire"


class Models:
    """The served model under each name that is listed."""

    def __init__(self, service: Service, names: ModelNames) -> None:
        self._names = names
        self._max_tokens = service.model.max_tokens

    async def list(self, _: bytes, call: Call) -> bytes:
        models = [self._model(name) for name in self._names.ids]
        return orjson.dumps({"object": "list", "data": models})

    async def retrieve(self, raw: bytes, call: Call) -> bytes:
        """One name, listed or not. Raises NotFound."""
        name = raw.decode()
        self._names.task_of(name)
        return orjson.dumps(self._model(name))

    def _model(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": CREATED,
            "owned_by": OWNER,
            "max_model_len": self._max_tokens,
        }
