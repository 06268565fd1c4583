"""The HTTP front: a server with its APIs and health, on the event loop of the gRPC front."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from starlette.routing import Route

from gemwire_server.config.options import ServerConfig
from gemwire_server.fronts.http.api import APIS, api_method
from gemwire_server.fronts.http.body_budget import LARGEST_BODIES, BodyBudget
from gemwire_server.fronts.http.connections import ConnectionLimits, Connections
from gemwire_server.fronts.http.document import build_document
from gemwire_server.fronts.http.handlers import Endpoint
from gemwire_server.fronts.http.health import HealthPage
from gemwire_server.fronts.http.listening import bind
from gemwire_server.fronts.http.pages import Pages
from gemwire_server.fronts.http.protocol import HttpConnection
from gemwire_server.fronts.http.routing import Routes
from gemwire_server.security import Certificates, Tokens
from gemwire_server.service.service import Service

log = logging.getLogger(__name__)

# Grace period for final responses.
SENDING_SECONDS = 1
# Longer than the idle time after which clients and balancers close a connection, or one of them sends a
# request on a connection that is just being closed.
KEEP_ALIVE_SECONDS = 75
HANDSHAKE_SECONDS = 10.0
# How long the end of TLS may take; a client that has gone never answers it.
TLS_CLOSE_SECONDS = 5.0


class HttpFront:
    """An HTTP server before the service: `bind`, `open`, `set_serving`, `drain`, `stop`."""

    def __init__(
        self,
        config: ServerConfig,
        service: Service,
        *,
        certificates: Certificates | None = None,
        tokens: Tokens | None = None,
        share_port: bool = False,
    ) -> None:
        """`share_port` lets other processes listen on the same address."""
        self.address = ""
        self._config = config
        self._service = service
        self._share_port = share_port
        metrics = service.observer.metrics
        for api in APIS:
            for method in api.methods:
                labels = api_method(api, method)
                metrics.register(labels.api, labels.name)
        self._certificates = certificates
        self._tokens = tokens
        self._health = HealthPage(service)
        self._connections = Connections(ConnectionLimits.of(config))
        self._sockets: list[socket.socket] = []
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def bind(self) -> None:
        """Takes the configured address; raises OSError if it cannot be had."""
        self._sockets, self.address = bind(self._config.http_address, share_port=self._share_port)

    async def open(self, config: ServerConfig) -> None:
        """Takes calls; /readyz says 503 until the service serves. `config` has the tokens of a step that
        suit the device."""
        assert self._sockets, "bind comes before open"
        app = Routes(self._routes(config), max_request_bytes=config.max_request_bytes)
        self._server = _Server(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                # uvicorn logs exceptions with their text; `Routes` logs the others that it would.
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=SENDING_SECONDS,
            ),
            self._connections,
            self._certificates.context() if self._certificates is not None else None,
        )
        self._serving = asyncio.create_task(self._server.serve(self._sockets))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(0.001)
        log.info("HTTP on %s", self.address)

    def _routes(self, config: ServerConfig) -> list[Route]:
        apis = [kind(self._service, config) for kind in APIS]
        document = build_document(
            [api.document for api in apis],
            self._service.model.name,
            with_tokens=self._tokens is not None,
        )
        bodies = BodyBudget(LARGEST_BODIES * config.max_request_bytes)
        routes = self._health.routes() + Pages(document).routes()
        for api in apis:
            for method in api.methods:
                endpoint = Endpoint(
                    self._service,
                    self._tokens,
                    api_method(type(api), method),
                    api.handles[method.name],
                    api.refusal,
                    max_request_bytes=config.max_request_bytes,
                    bodies=bodies,
                    json_only=method.json_only,
                )
                routes += [Route(path, endpoint, methods=[method.verb]) for path in method.paths]
        return routes

    async def set_serving(self, serving: bool) -> None:
        """Nothing to do: /readyz says what the service says."""

    async def drain(self) -> None:
        """Closes each connection after its next answer."""
        self._connections.drain()

    async def stop(self) -> None:
        """Ends open calls and connections."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._connections.abort()
        for each in self._sockets:
            each.close()


class _Server(uvicorn.Server):
    """uvicorn's server with connections of ours; it leaves signals to the process."""

    def __init__(
        self, config: uvicorn.Config, connections: Connections, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(config)
        self._connections = connections
        self._tls = tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        def connection() -> HttpConnection:
            return HttpConnection(
                self._connections, config=self.config, server_state=self.server_state, app_state={}
            )

        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                connection,
                sock=each,
                ssl=self._tls,
                backlog=self.config.backlog,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls is not None else None,
                ssl_shutdown_timeout=TLS_CLOSE_SECONDS if self._tls is not None else None,
            )
            for each in sockets or ()
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
