"""Kinds of values that flags take: each function returns the value, or raises what is expected instead.

The error is argparse's own, so that the message names the flag: `--rate is 'x': must be …`.
"""

import argparse
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

from gemwire_server.config.sources import check_text, shown

REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# The client passes these on to gRPC unchanged, besides host:port and unix:/path.
TARGET_SCHEMES = ("dns:", "ipv4:", "ipv6:", "xds:", "unix-abstract:")


def _refuse(value: str, expected: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"is {shown(value)}: {expected}")


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number from `least` to `most`."""

    def read(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise _refuse(value, "must be a whole number") from None
        if not least <= number <= most:
            raise _refuse(value, f"must be from {least} to {most}")
        return number

    return read


def number(least: float, most: float, *, above: bool = False) -> Callable[[str], float]:
    """A number from `least` to `most`; with `above`, not `least` itself."""

    def read(value: str) -> float:
        try:
            found = float(value)
        except ValueError:
            raise _refuse(value, "must be a number") from None
        if math.isnan(found) or not least <= found <= most or (above and found == least):
            raise _refuse(value, f"must be {'above' if above else 'from'} {least:g} to {most:g}")
        return found

    return read


def text(value: str) -> str:
    """Text without zero bytes and half surrogate pairs; it may be empty."""
    try:
        check_text(value)
    except ValueError as error:
        raise _refuse(value, str(error)) from None
    return value


def name(value: str) -> str:
    """Text of at least one character."""
    if not value:
        raise _refuse(value, "must not be empty")
    return text(value)


def readable(value: str) -> str:
    """The path of a file that can be read, which may be a pipe."""
    _local(value, "download it first, and give the file")
    try:
        if os.path.isdir(value):
            raise _refuse(value, "must be a file, and is a folder")
        if os.path.isfile(value):  # a pipe is opened once only
            with open(value, "rb") as file:
                file.read(1)
        else:
            os.stat(value)
    except OSError as error:
        raise _refuse(value, f"must be a file that can be read: {error.strerror}") from None
    return value


def readable_path(value: str) -> Path:
    return Path(readable(value))


def writable(value: str) -> str:
    """The path of a file to write; an old file stays until the new one is whole."""
    _local(value, "write a file, and upload it then")
    target = Path(os.path.realpath(value))
    if value.endswith("/") or target.is_dir():
        raise _refuse(value, "must be a file, and is a folder")
    if os.path.exists(value) and not target.is_file():
        return value  # a pipe or a device
    folder = target.parent
    if not folder.is_dir():
        raise _refuse(value, f"there is no folder {shown(str(folder))}")
    _check_writable(value, folder)
    return value


def writable_path(value: str) -> Path:
    return Path(writable(value))


def new_folder(value: str) -> Path:
    """The path of a folder to make."""
    _local(value, "write a folder, and upload it then")
    above = Path(os.path.realpath(value))
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise _refuse(value, f"must be a folder's path, and {shown(str(above))} is no folder")
    _check_writable(value, above)
    return Path(value)


def _check_writable(value: str, folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _refuse(value, f"the folder {shown(str(folder))} cannot be written")


def _local(value: str, advice: str) -> None:
    if not value:
        raise _refuse(value, "must be a file's path")
    text(value)
    if REMOTE.match(value):
        raise _refuse(value, f"gemwire reads and writes this machine's files only: {advice}")


def server(value: str) -> str:
    """The address of a server."""
    from gemwire_server.config.checks import check_address

    if value.startswith(TARGET_SCHEMES):
        return text(value)
    if value.startswith(("http://", "https://", "grpc://", "grpcs://")):
        raise _refuse(
            value, "leave out what is before host:port; --tls is for a server that has TLS"
        )
    try:
        check_address(value)
    except ValueError:
        raise _refuse(value, "must be host:port, [IPv6]:port or unix:/path") from None
    if value.endswith(":0"):
        raise _refuse(value, "no server listens on port 0")
    return value
