"""Checks of single values: each raises ValueError with what is expected instead."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any], None]

# sockaddr_un holds so many bytes, besides its closing zero.
MAX_SOCKET_PATH_BYTES = 107
# The API has its limits as uint32, gRPC takes them as int32.
LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Between:
    """Takes numbers from `least` to `most`."""

    least: float
    most: float = LARGEST

    def __call__(self, value: float) -> None:
        if not self.least <= value <= self.most:
            raise ValueError(f"must be from {self.least} to {self.most}")


def check_address(value: str) -> None:
    """Takes host:port, [IPv6]:port and unix:/path."""
    if value.startswith("unix:"):
        path = value.removeprefix("unix:")
        if not path.startswith("/") or path.endswith("/"):
            raise ValueError("after unix: comes the absolute path of the socket")
        if len(path.encode()) > MAX_SOCKET_PATH_BYTES:
            raise ValueError(f"the system takes {MAX_SOCKET_PATH_BYTES} bytes as a socket's path")
        return
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%\w]+\]|[^\s\[\]:/]+):(\d{1,5})", value)
    if match is None or int(match[2]) > 65535:
        raise ValueError(
            "must be host:port, [IPv6]:port or unix:/path; 0.0.0.0:50051 listens on every "
            "interface, port 0 takes any free one"
        )


def check_address_if_given(value: str) -> None:
    if value:
        check_address(value)


def check_http_address(value: str) -> None:
    """Takes host:port and [IPv6]:port, or an empty text."""
    if value.startswith("unix:"):
        raise ValueError("must be host:port or [IPv6]:port")
    check_address_if_given(value)


def is_local(address: str) -> bool:
    """Whether only this machine reaches an address."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("unix", "localhost") or address.startswith("unix:")


def check_device(value: str) -> None:
    if re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value) is None:
        raise ValueError("must be auto, cpu, cuda or cuda:N")


def check_devices(value: str) -> None:
    if value and re.fullmatch(r"\d{1,3}(,\d{1,3})*", value) is None:
        raise ValueError("must be numbers of GPUs with commas between, such as 0,1")


def check_dtype(value: str) -> None:
    if value in ("float16", "fp16", "half"):
        raise ValueError("Gemma's activations overflow it; bfloat16 is as small and as fast")
