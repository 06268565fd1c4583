"""The server under load: how to reach it."""

import json
from dataclasses import dataclass
from typing import Any

import grpc

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub, ModelServiceStub
from gemwire_client.foreign import from_rpc_error
from gemwire_client.service_config import channel_options

# Every attempt is a sample: gRPC must not retry on its own.
OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.enable_retries", 0),
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.use_local_subchannel_pool", 1),
)
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Target:
    """An address and its credentials, which are never printed; certificates are PEM."""

    address: str
    tls: bool = False
    tls_ca: bytes | None = None
    client_cert: bytes | None = None
    client_key: bytes | None = None
    token: str | None = None

    def __repr__(self) -> str:
        return f"Target({self.address!r})"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def channel(self, asynchronous: bool) -> Any:
        """A new connection, for asyncio or for threads."""
        module = grpc.aio if asynchronous else grpc
        options = channel_options(self.address, OPTIONS)
        if not (self.tls or self.tls_ca or self.client_cert):
            return module.insecure_channel(self.address, options=options)
        credentials = grpc.ssl_channel_credentials(
            root_certificates=self.tls_ca,
            private_key=self.client_key,
            certificate_chain=self.client_cert,
        )
        return module.secure_channel(self.address, credentials, options=options)


class Asked:
    """Asks the server before and beside the load. Every method raises GemwireError."""

    def __init__(self, target: Target) -> None:
        self._channel = target.channel(asynchronous=False)
        self._address = target.address
        self._metadata = target.metadata
        self._embedding = EmbeddingServiceStub(self._channel)
        self._models = ModelServiceStub(self._channel)

    def __enter__(self) -> "Asked":
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def model(self) -> pb.Model:
        models = self._call(self._models.ListModels, pb.ListModelsRequest()).models
        if len(models) != 1:
            raise ValueError(f"the server has {len(models)} models; one is expected")
        return models[0]  # type: ignore[no-any-return]

    def tokenize(self, request: pb.TokenizeRequest) -> pb.TokenizeResponse:
        return self._call(self._embedding.Tokenize, request)  # type: ignore[no-any-return]

    def embed(self, request: pb.EmbedRequest) -> pb.EmbedResponse:
        return self._call(self._embedding.Embed, request)  # type: ignore[no-any-return]

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=SECONDS, metadata=self._metadata, wait_for_ready=True)
        except grpc.RpcError as raw:
            error = from_rpc_error(raw)
            error.add_note(self._address)
            raise error from None
