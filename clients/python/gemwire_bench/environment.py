"""Versions and machines of both sides, on which a result depends besides the server's code."""

import os
import platform
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from gemwire.v1 import embedding_pb2 as pb

PACKAGES = ("gemwire", "grpcio", "hdrhistogram", "numpy", "protobuf")


def environment(address: str, model: pb.Model | None) -> dict[str, Any]:
    """The client's side, and the server's as its Model describes it."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "address": address,
        "client": {
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "cpu": _cpu(),
            "threads": len(os.sched_getaffinity(0)),
            "load_average": os.getloadavg(),
            "versions": {name: _version(name) for name in PACKAGES},
        },
        "server": _server(model),
    }


def _server(model: pb.Model | None) -> Mapping[str, Any]:
    if model is None:
        return {}
    return MessageToDict(
        model, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
