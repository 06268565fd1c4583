"""Signals that end a command, so that it leaves nothing half done behind."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def ending_signals() -> Iterator[list[int]]:
    """SIGTERM, SIGINT and SIGHUP end the block as an exception does, so that no partial file stays behind.
    What the process was started to ignore (nohup, a script's background job) it goes on to ignore.

    Yields those received: what a handler raises is lost where Python happens to run a callback that may
    not raise (of grpc's, or a finalizer), and then the list is how the work learns of it.
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
