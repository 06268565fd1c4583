"""Signals that end a command, so that it leaves nothing half done behind."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def ending_signals() -> Iterator[list[int]]:
    """SIGTERM and SIGINT end the block as an exception does, so that no partial file stays behind.

    Yields those received: what a handler raises is lost where Python happens to run a callback that may
    not raise (of grpc's, or a finalizer), and then the list is how the work learns of it.
    """
    received: list[int] = []

    def end(number: int, _: object) -> NoReturn:
        received.append(number)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
