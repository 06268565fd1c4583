"""The HTTP front: a server with its APIs and health, on the event loop of the gRPC front."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from gemwire_server.config.options import ServerConfig
from gemwire_server.fronts.http.api import APIS, api_method
from gemwire_server.fronts.http.handlers import Endpoint
from gemwire_server.fronts.http.health import HealthPage
from gemwire_server.fronts.http.listening import bind
from gemwire_server.security import open_tokens
from gemwire_server.service.service import Service

log = logging.getLogger(__name__)

# Grace period for final responses.
SENDING_SECONDS = 1
# Longer than the idle time after which clients and balancers close a connection, or one of them sends a
# request on a connection that is just being closed.
KEEP_ALIVE_SECONDS = 75


class HttpFront:
    """An HTTP server before the service: `bind`, `open`, `set_serving`, `drain`, `stop`."""

    def __init__(self, config: ServerConfig, service: Service, *, share_port: bool = False) -> None:
        """`share_port` lets other processes listen on the same address.

        Raises ConfigError for certificates and tokens that cannot be used.
        """
        self.address = ""
        self._config = config
        self._service = service
        self._share_port = share_port
        metrics = service.observer.metrics
        for api in APIS:
            for method in api.methods:
                labels = api_method(api, method)
                metrics.register(labels.api, labels.name)
        self._tokens = open_tokens(config, metrics.bad_file)
        self._health = HealthPage()
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def bind(self) -> None:
        """Takes the configured address; raises OSError if it cannot be had."""
        self._socket, self.address = bind(self._config.http_address, share_port=self._share_port)

    async def open(self, config: ServerConfig) -> None:
        """Takes calls; /readyz says 503 until `set_serving`. `config` has the tokens of a step that suit
        the device."""
        assert self._socket is not None, "bind comes before open"
        self._server = _Server(
            uvicorn.Config(
                Starlette(routes=self._routes(config)),
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=SENDING_SECONDS,
            )
        )
        self._serving = asyncio.create_task(self._server.serve([self._socket]))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(0.001)
        log.info("HTTP on %s", self.address)

    def _routes(self, config: ServerConfig) -> list[Route]:
        routes = self._health.routes()
        for kind in APIS:
            api = kind(self._service, config)
            for method in api.methods:
                endpoint = Endpoint(
                    self._service,
                    self._tokens,
                    api_method(kind, method),
                    api.handles[method.name],
                    api.refusal,
                    max_request_bytes=config.max_request_bytes,
                )
                routes += [Route(path, endpoint, methods=[method.verb]) for path in method.paths]
        return routes

    async def set_serving(self, serving: bool) -> None:
        """Sets what /readyz says; once `drain` has begun, 503 stays."""
        self._health.set_serving(serving)

    async def drain(self) -> None:
        """Says 503 to /readyz for good."""
        self._health.drain()

    async def stop(self) -> None:
        """Ends open calls and connections."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
        if self._socket is not None:
            self._socket.close()


class _Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
