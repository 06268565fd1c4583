"""A scripted server, and calls of both clients to it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from gemwire_client import AsyncClient, Client
from support.scripted import Scripted, scripted_server

Run = Callable[..., Any]


@pytest.fixture
def server() -> Iterator[tuple[Scripted, str]]:
    with scripted_server() as running:
        yield running


@pytest.fixture
def scripted(server: tuple[Scripted, str]) -> Scripted:
    return server[0]


@pytest.fixture(params=["sync", "asyncio"])
def call(request: pytest.FixtureRequest, server: tuple[Scripted, str]) -> Run:
    """call("embed", …) makes a client, calls its method and returns the answer."""

    def with_sync(
        method: str, *args: Any, client: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        with Client(server[1], **(client or {})) as made:
            return getattr(made, method)(*args, **options)

    def with_asyncio(
        method: str, *args: Any, client: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        async def main() -> Any:
            async with AsyncClient(server[1], **(client or {})) as made:
                answer: Awaitable[Any] = getattr(made, method)(*args, **options)
                return await answer

        return asyncio.run(main())

    return with_sync if request.param == "sync" else with_asyncio
