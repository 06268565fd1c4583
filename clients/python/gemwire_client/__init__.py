"""The gemwire client: `Client` for threads, `AsyncClient` for asyncio.

from gemwire_client import Client

with Client("127.0.0.1:50051") as client:
    query = client.embed_query("Which planet is known as the Red Planet?")
    documents = client.embed_documents(["Mars is red.", "Venus is hot."])
    print(documents @ query)
"""

from gemwire_client.aio import AsyncClient
from gemwire_client.client import Client
from gemwire_client.errors import (
    AccessDenied,
    ConnectionLost,
    DeadlineExceeded,
    EngineFailure,
    GemwireError,
    InvalidInput,
    NotFound,
    Overloaded,
    ProxyTimeout,
    Unavailable,
)
from gemwire_client.requests import Document, Limits, Model, Options
from gemwire_client.service_config import SERVICE_CONFIG

__all__ = [
    "SERVICE_CONFIG",
    "AccessDenied",
    "AsyncClient",
    "Client",
    "ConnectionLost",
    "DeadlineExceeded",
    "Document",
    "EngineFailure",
    "GemwireError",
    "InvalidInput",
    "Limits",
    "Model",
    "NotFound",
    "Options",
    "Overloaded",
    "ProxyTimeout",
    "Unavailable",
]
