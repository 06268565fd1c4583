"""Takes the address that the HTTP server listens on."""

import errno
import socket

# A host may have an address of IPv6 on a machine that has none.
NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def bind(address: str, *, share_port: bool) -> tuple[list[socket.socket], str]:
    """A bound socket for each address of the host, and the address taken, with the port that 0 became.

    `share_port` lets other processes bind the same address. Raises OSError if it cannot be had.
    """
    host, _, port = address.rpartition(":")
    bound: list[socket.socket] = []
    number = int(port)
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        missing: OSError | None = None
        for family, where in dict.fromkeys((each[0], each[4]) for each in found):
            try:
                each = _bound(family, (where[0], number, *where[2:]), share_port)
            except OSError as error:
                if error.errno not in NOT_HERE:
                    raise
                missing = error
            else:
                bound.append(each)
                number = each.getsockname()[1]
        if missing is not None and not bound:
            raise missing
    except (OSError, UnicodeError) as error:  # UnicodeError: a host that no name service has
        for each in bound:
            each.close()
        reason = getattr(error, "strerror", None) or "no name of a host"
        raise OSError(f"cannot listen on {address} for HTTP: {reason}") from None
    return bound, f"{host}:{number}"


def _bound(family: int, where: tuple[object, ...], share_port: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(where)
    except OSError:
        made.close()
        raise
    return made
