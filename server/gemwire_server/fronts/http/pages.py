"""GET /openapi.json, the document of what is served, and GET /docs, a page that shows it and tries calls.

The page needs no other host. Its policy allows nothing but its own script and style, and calls to this
server.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PAGE = Path(__file__).with_name("docs.html")
COMMON_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-cache"}


class Pages:
    """Both need no token: they say no more than the documentation does."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = orjson.dumps(document)
        self._page = PAGE.read_text("utf-8")
        self._page_headers = {
            **COMMON_HEADERS,
            "content-security-policy": content_security_policy(self._page),
            "referrer-policy": "no-referrer",
        }

    def routes(self) -> list[Route]:
        return [Route("/openapi.json", self._show_document), Route("/docs", self._show_page)]

    async def _show_document(self, _: Request) -> Response:
        return Response(self._document, 200, COMMON_HEADERS, "application/json")

    async def _show_page(self, _: Request) -> Response:
        return Response(self._page, 200, self._page_headers, "text/html")


def content_security_policy(page: str) -> str:
    """The policy under which a page's one script and one style run, and nothing else."""
    sources = [
        f"{kind}-src 'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
        for kind, text in re.findall(r"<(script|style)>(.*?)</\1>", page, re.DOTALL)
    ]
    rest = "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return "; ".join(["default-src 'none'", *sources, rest])
