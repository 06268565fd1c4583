"""Health over HTTP: /healthz, which answers while the process does, and /readyz, 200 while it serves.

/health, / and /ping are /readyz as probes of Text Embeddings Inference and SageMaker ask for it.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gemwire_server.service.service import Service

TEI_PATHS = ("/health", "/", "/ping")


class HealthPage:
    """What probes see of the service; they need no token."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        return [
            Route("/healthz", self._alive),
            Route("/readyz", self._ready),
            *(Route(path, self._healthy) for path in TEI_PATHS),
        ]

    async def _alive(self, _: Request) -> Response:
        return PlainTextResponse("OK\n")

    async def _ready(self, _: Request) -> Response:
        if self._service.is_serving:
            return PlainTextResponse("OK\n")
        return PlainTextResponse("Service Unavailable\n", status_code=503)

    async def _healthy(self, _: Request) -> Response:
        if self._service.is_serving:
            return Response(media_type="application/json")
        return JSONResponse({"error": "unhealthy", "error_type": "Unhealthy"}, status_code=503)
