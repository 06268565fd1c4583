"""The gRPC front: a server with its APIs, health and reflection."""

import logging

import grpc

from gemwire_server.config.options import ServerConfig
from gemwire_server.fronts.grpc.admin import AdminServer
from gemwire_server.fronts.grpc.api import APIS, GrpcApi, served_services
from gemwire_server.fronts.grpc.handlers import Handlers, api_method
from gemwire_server.fronts.grpc.health import Health
from gemwire_server.fronts.grpc.listening import bind
from gemwire_server.fronts.grpc.reflection import add_reflection
from gemwire_server.security import Certificates, Tokens
from gemwire_server.service.service import Service

log = logging.getLogger(__name__)

# Grace period for final responses. Only health watchers are still connected then.
SENDING_SECONDS = 1.0
# Clients ping every 10 seconds or more; gRPC closes a connection that pings more often than this.
LEAST_PING_SECONDS = 5.0
# A stream that begins as late as a connection takes new calls, and lives as long, is still waited for.
AGE_GRACE = 1.5


class GrpcFront:
    """A gRPC server before the service: `bind`, `open`, `set_serving`, `drain`, `stop`."""

    def __init__(
        self,
        config: ServerConfig,
        service: Service,
        *,
        certificates: Certificates | None = None,
        tokens: Tokens | None = None,
        share_port: bool = False,
    ) -> None:
        """`share_port` lets other processes listen on the same addresses."""
        self.address = ""
        self._config = config
        self._service = service
        metrics = service.observer.metrics
        for each in served_services():
            for method in each.methods:
                metrics.register(api_method(method).api, method.name)
        self._health = Health(
            [each.full_name for each in served_services()],
            config.liveness_seconds,
            unserved=[name for api in APIS for name in api.unserved],
        )
        self._admin: AdminServer | None = None
        if config.admin_address:
            self._admin = AdminServer(
                config.admin_address,
                self._health,
                reflected=config.reflection,
                share_port=share_port,
            )
        self._certificates = certificates
        self._handlers = Handlers(service, tokens, max_response_bytes=config.max_response_bytes)
        self._apis: list[GrpcApi] = []
        self._server = grpc.aio.server(options=_options(config, share_port))

    async def bind(self) -> None:
        """Takes the configured addresses; raises OSError if they cannot be had."""
        await self._health.start()
        credentials = self._certificates.credentials() if self._certificates is not None else None
        self.address = bind(self._server, self._config.address, credentials)
        if self._admin is not None:
            await self._admin.start()
            log.info("health and reflection on %s", self._admin.address)

    async def open(self, config: ServerConfig) -> None:
        """Takes calls; the health service says NOT_SERVING until `set_serving`.

        `config` has the tokens of a step that suit the device. Raises CheckpointError for a model that
        an API cannot describe.
        """
        for kind in APIS:
            api = kind(self._service, config)
            self._apis.append(api)
            handlers = [
                self._handlers.of(service, api.methods[name], api.wording)
                for name, service in api.file.services_by_name.items()
            ]
            self._server.add_generic_rpc_handlers(tuple(handlers))
        self._health.add_to(self._server)
        if config.reflection and not config.admin_address:
            add_reflection(self._server)
        await self._server.start()
        await self.set_serving(False)

    async def set_serving(self, serving: bool) -> None:
        """Sets the health of every service; once `drain` has begun, NOT_SERVING stays."""
        await self._health.set_serving(serving)

    async def drain(self) -> None:
        """Sets the health to NOT_SERVING for good, and asks the clients of open streams to go elsewhere."""
        await self._health.drain()
        for api in self._apis:
            api.drain()

    async def stop(self) -> None:
        """Ends open calls and connections."""
        self._health.close()
        # A handler that has returned is not yet an answer that was sent.
        await self._server.stop(SENDING_SECONDS)
        if self._admin is not None:
            await self._admin.stop()


def _options(config: ServerConfig, share_port: bool) -> list[tuple[str, int]]:
    options = [
        # Else a taken port is an error, not a share of its connections.
        ("grpc.so_reuseport", int(share_port)),
        ("grpc.max_receive_message_length", config.max_request_bytes),
        # Else the window of a stream that is not read grows to what the line could carry: a client
        # that ignores its credit had 20 MB held here, and now 0.1 MB.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Below what clients ping with, or gRPC closes their connections for pinging too much. The header
        # calls it MIN_RECV_PING_INTERVAL; by that name gRPC ignores it.
        ("grpc.http2.min_ping_interval_without_data_ms", round(LEAST_PING_SECONDS * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_concurrent_streams", config.max_streams_per_connection),
        # The first is a limit that is enforced now and then, the second is the limit.
        ("grpc.max_metadata_size", config.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", config.max_metadata_bytes),
    ]
    if age := config.max_connection_age:
        options += [
            ("grpc.max_connection_age_ms", round(age * 1000)),
            ("grpc.max_connection_age_grace_ms", round((age * AGE_GRACE + 10) * 1000)),
        ]
    return options
