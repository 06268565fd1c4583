"""The APIs that the HTTP front serves, each in a folder beside this file."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.http.methods import Handle, HttpMethod
from gemwire_server.fronts.http.openai.api import OpenAI
from gemwire_server.fronts.http.tei.api import Tei
from gemwire_server.service.call import ApiMethod
from gemwire_server.service.service import Service


class HttpApi(Protocol):
    """An API of the HTTP front; it is made once the service is open."""

    name: str
    """The label of its metrics, such as openai.v1."""
    methods: Sequence[HttpMethod]
    handles: Mapping[str, Handle]
    """The code of every method by its name."""
    document: Mapping[str, Any]
    """Its part of the OpenAPI document: "paths" and "schemas"."""

    def __init__(self, service: Service, config: ServerConfig) -> None: ...

    @staticmethod
    def refusal(error: GemwireError) -> tuple[int, bytes]:
        """The HTTP status and the JSON body with which callers of this API get an error."""


APIS: tuple[type[HttpApi], ...] = (OpenAI, Tei)
"""Routes, metrics and the OpenAPI document follow from this list."""


def api_method(api: type[HttpApi], method: HttpMethod) -> ApiMethod:
    """The method with the labels of its metrics."""
    return ApiMethod(api.name, method.name, f"{api.name}.{method.name}", system="http")
