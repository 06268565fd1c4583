"""Each process of a running server has mapped only the large libraries that it needs."""

from pathlib import Path

from gemwire_client import Client
from support.serving import serving

# What each package maps into a process that imports it.
GRPC, TORCH = "/grpc/_cython/", "/libtorch_cpu.so"


def libraries(pid: int) -> set[str]:
    """Which of GRPC and TORCH the process has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {library for library in (GRPC, TORCH) if library in maps}


def test_engines_map_no_grpc_fronts_no_torch_and_the_supervisor_neither(
    tiny_checkpoint: Path,
) -> None:
    flags = ("--fronts", "2", "--metrics-address", "127.0.0.1:0")
    with serving(tiny_checkpoint, *flags) as (supervisor, address, _):
        with Client(address) as client:
            assert len(client.embed("a text")) > 0  # so that late imports are done
        found = {"supervisor": [libraries(supervisor.pid)]}
        children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text()
        for pid in map(int, children.split()):
            command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            kind = command[command.index("gemwire_server.processes.child") + 1]
            found.setdefault(kind, []).append(libraries(pid))
    assert found == {"supervisor": [set()], "engine": [{TORCH}], "front": [{GRPC}, {GRPC}]}
