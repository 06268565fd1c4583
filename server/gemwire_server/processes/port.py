"""Holds a port for fronts that come and go: bound, never listened on."""

import socket


class HeldPort:
    """A held address; `address` has the port that 0 became. Raises OSError if the address is taken.

    A unix socket is not held: its front binds it.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._sockets: list[socket.socket] = []
        if address.startswith("unix:"):
            return
        host, _, port = address.rpartition(":")
        try:
            found = socket.getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            number = int(port)
            for family, kind, protocol, _, where in found:
                target = (where[0], number, *where[2:])
                # Another process that listens already, sharing the port or not, would take connections.
                with socket.socket(family, kind, protocol) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(target)
                held = socket.socket(family, kind, protocol)
                self._sockets.append(held)
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                held.bind(target)
                number = held.getsockname()[1]
        except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host
            self.close()
            raise OSError(
                f"cannot listen on {address}: {getattr(error, 'strerror', None) or 'no name of a host'}"
            ) from error
        self.address = f"{host}:{number}"

    def close(self) -> None:
        for held in self._sockets:
            held.close()
        self._sockets = []
