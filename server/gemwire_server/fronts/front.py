"""The interface of a front."""

from typing import Protocol

from gemwire_server.config.options import ServerConfig


class Front(Protocol):
    """A server of one protocol before the service."""

    async def bind(self) -> None:
        """Takes the configured addresses; raises OSError if they cannot be had."""

    async def open(self, config: ServerConfig) -> None:
        """Takes calls, before the health says that they are served."""

    async def set_serving(self, serving: bool) -> None:
        """Sets the health; once `drain` has begun, it stays not serving."""

    async def drain(self) -> None:
        """Sets the health for good, and asks the clients of open streams to go elsewhere."""

    async def stop(self) -> None:
        """Ends open calls and connections."""
