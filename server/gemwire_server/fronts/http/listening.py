"""Takes the address that the HTTP server listens on."""

import socket


def bind(address: str, *, share_port: bool) -> tuple[socket.socket, str]:
    """A bound socket, and the address taken, with the port that 0 became.

    `share_port` lets other processes bind the same address. Raises OSError if it cannot be had.
    """
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, where = found[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if share_port:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(where)
        except OSError:
            bound.close()
            raise
    except (OSError, UnicodeError) as error:  # UnicodeError: a host that no name service has
        reason = getattr(error, "strerror", None) or "no name of a host"
        raise OSError(f"cannot listen on {address} for HTTP: {reason}") from None
    return bound, f"{host}:{bound.getsockname()[1]}"
