"""The HTTP page that Prometheus reads, and the two that a balancer asks."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from socket import AF_INET, AF_INET6
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 8
READINGS, PAUSE_SECONDS = 5, 0.05
PATIENCE_SECONDS = 5.0  # with a connection that says nothing


class MetricsPage:
    """/metrics; /healthz, which answers while the process does; /readyz, 200 while it serves, else 503."""

    def __init__(
        self, address: str, registry: CollectorRegistry, is_ready: Callable[[], bool]
    ) -> None:
        """Listens on host:port (port 0: any free one). Raises OSError if the address cannot be had."""
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        kind = _Server6 if ":" in host else _Server
        try:
            self._server = kind((host, int(port)), _Handler)
        except (OSError, UnicodeError) as error:  # UnicodeError: a host that no name service has
            reason = getattr(error, "strerror", None) or "no name of a host"
            raise OSError(f"cannot listen on {address} for metrics: {reason}") from None
        self._server.set_app(_App(registry, is_ready))
        self.address = f"{address.rpartition(':')[0]}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="gemwire-metrics",
        )
        self._thread.start()

    def close(self) -> None:
        """Gives up the address."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _App:
    def __init__(self, registry: CollectorRegistry, is_ready: Callable[[], bool]) -> None:
        self._metrics = make_wsgi_app(registry)
        self._is_ready = is_ready

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return self._page(environ, start)
            case "/healthz":
                status = "200 OK"
            case "/readyz":
                status = "200 OK" if self._is_ready() else "503 Service Unavailable"
            case _:
                status = "404 Not Found"
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{status.partition(' ')[2]}\n".encode()]

    def _page(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Read again if need be: while it is read, a process may end and its files with it."""
        for _ in range(READINGS - 1):
            try:
                page: Iterable[bytes] = self._metrics(environ, start)
                return page
            except Exception as error:
                log.info("the metrics are read again: %s", type(error).__name__)
                time.sleep(PAUSE_SECONDS)
        last: Iterable[bytes] = self._metrics(environ, start)
        return last


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """A page read every few seconds is no news."""


class _Server(ThreadingMixIn, WSGIServer):
    address_family = AF_INET
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self._free = threading.Semaphore(MAX_CONNECTIONS)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's asks the name service for its own name
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away; the default prints a traceback."""


class _Server6(_Server):
    address_family = AF_INET6
