"""A server that the commands ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gemwire_server.config.options import ServerConfig
from gemwire_server.processes.single import background_server


@pytest.fixture(scope="session")
def server(tiny_checkpoint: Path) -> Iterator[str]:
    """The address of a server of the tiny checkpoint: vectors of 96, 64 or 32, a window of 2048."""
    with background_server(ServerConfig(model=str(tiny_checkpoint))) as address:
        yield address
