"""Part a prints the card, the driver, the versions, and the packages that are missing.

    python benchmarks/gpu_machine.py [--output FILE]

Nothing of the card is set.
"""

import json
import os
import sys
import time
from importlib.util import find_spec
from typing import Any

import torch

from card import card, require_cuda
from environment import environment
from measure import keep
from part import part_parser

# What the served path imports beside PyTorch, by the name of the package that brings it.
NEEDED = {
    "google.rpc": "googleapis-common-protos",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "grpc_status": "grpcio-status",
    "hdrh": "hdrhistogram",
    "prometheus_client": "prometheus-client",
    "sentence_transformers": "sentence-transformers",
    "uvloop": "uvloop",
}


def main() -> int:
    args = part_parser(__doc__, seconds=15.0).parse_args()
    device = require_cuda()
    result: dict[str, Any] = {
        "benchmark": "gpu_machine",
        "environment": environment() | {"card": card()},
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "missing": [package for module, package in NEEDED.items() if not _found(module)],
    }
    keep(result, args.output)
    started = time.monotonic()
    total = torch.ones(1 << 20, device=device).sum().item()  # the driver's own start is in it
    result["first_kernel_seconds"] = time.monotonic() - started
    if total != 1 << 20:
        raise SystemExit(f"the card says that {1 << 20} ones are {total:g}")
    keep(result, args.output)
    facts = result["environment"] | result["environment"]["card"]
    for name in ("gpu", "multiprocessors", "driver_version", "clocks.max.sm", "cpu", "python"):
        print(f"{name:16} {facts.get(name)}")
    for name in ("torch", "triton", "transformers", "sentence-transformers", "grpcio", "protobuf"):
        print(f"{name:16} {facts['versions'].get(name)}")
    print(f"{'cores':16} {result['cores']}")
    print(f"missing: {', '.join(result['missing']) or 'nothing'}")
    print(json.dumps(result))
    return 0


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


if __name__ == "__main__":
    sys.exit(main())
