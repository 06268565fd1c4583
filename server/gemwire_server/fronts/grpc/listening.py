"""Takes the address that a server listens on."""

import socket

import grpc


def bind(
    server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None = None
) -> str:
    """Takes the address; returns the one taken, with the port that 0 became.

    Raises OSError if it cannot be had.
    """
    if address.startswith("unix:") and _answers(address.removeprefix("unix:")):
        raise OSError(f"cannot listen on {address}: another server does")
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError:
        port = 0
    if not port:
        raise OSError(f"cannot listen on {address}: it is taken, or not an address of this machine")
    if address.startswith("unix:"):
        return address
    return f"{address.rpartition(':')[0]}:{port}"


def _answers(path: str) -> bool:
    """Whether another server listens on the socket: gRPC would unlink it and take its place."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0
