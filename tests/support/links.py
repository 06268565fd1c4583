"""Both ends of a link in this process."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from gemwire_server.processes.link import Link


@contextmanager
def linked(out_bytes: int = 4096, in_bytes: int = 4096) -> Iterator[tuple[Link, Link]]:
    """Both ends; the sizes are the first's."""
    path = f"\0gemwire-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        first = Link.connect(path, out_bytes=out_bytes, in_bytes=in_bytes)
        second = Link.accept(listener.accept()[0])
        try:
            yield first, second
        finally:
            first.close()
            second.close()
