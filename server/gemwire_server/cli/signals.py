"""Signals that end a command without leaving partial files behind."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def ending_signals() -> Iterator[list[int]]:
    """SIGTERM, SIGINT and SIGHUP end the block as an exception does, so that no partial file stays behind.
    Signals that the process was started to ignore (nohup, a script's background job) stay ignored.

    Yields the list of received signals. An exception of a handler is lost where Python happens to run a
    callback that may not raise (of grpc, or a finalizer); the work then learns of the signal by the list.
    """
    received: list[int] = []

    def end(number: int, _: object) -> NoReturn:
        received.append(number)
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
