"""Health over HTTP: /healthz, which answers while the process does, and /readyz, 200 while it serves."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


class HealthPage:
    """The state that probes see; they need no token."""

    def __init__(self) -> None:
        self.is_serving = False
        self._draining = False

    def set_serving(self, serving: bool) -> None:
        """Whether calls can be answered; without effect once `drain` was called."""
        self.is_serving = serving and not self._draining

    def drain(self) -> None:
        """Not serving, for good."""
        self._draining = True
        self.is_serving = False

    def routes(self) -> list[Route]:
        return [Route("/healthz", self._alive), Route("/readyz", self._ready)]

    async def _alive(self, _: Request) -> Response:
        return PlainTextResponse("OK\n")

    async def _ready(self, _: Request) -> Response:
        if self.is_serving:
            return PlainTextResponse("OK\n")
        return PlainTextResponse("Service Unavailable\n", status_code=503)
