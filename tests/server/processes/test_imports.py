"""What the processes of a server load: a front no PyTorch, an engine no gRPC, a supervisor neither."""

import re
from pathlib import Path

import pytest

from faults.processes import descendants
from support.serving import serving

LIBRARIES = {"torch": r"/libtorch_cpu|/torch/lib/", "grpc": r"/grpc/_cython/cygrpc"}


def _loaded(pid: int) -> set[str]:
    """The libraries whose shared objects the running process has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {name for name, path in LIBRARIES.items() if re.search(path, maps)}


def _kind(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return next((kind for kind in ("engine", "front") if kind in words), "other")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="/proc is not here")
def test_each_process_loads_what_it_needs(tiny_checkpoint: Path) -> None:
    with serving(tiny_checkpoint) as (process, _, _):
        assert _loaded(process.pid) == set()
        found = {_kind(child): _loaded(child) for child in descendants(process.pid)}
    assert found["engine"] == {"torch"}
    assert found["front"] == {"grpc"}
