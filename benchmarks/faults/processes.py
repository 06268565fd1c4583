"""The resources that processes hold, read from /proc."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
LISTEN = "0A"
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources of several processes together. `rss` is in bytes. `shared_memory` counts mapped files
    of /dev/shm, and mapped files without a name."""

    processes: int
    zombies: int
    threads: int
    fds: int
    rss: int
    shared_memory: int


def descendants(pid: int) -> list[int]:
    """The children of a process and their descendants, zombies included."""
    parents = {int(entry.name): _stat(int(entry.name)) for entry in PROC.glob("[0-9]*")}
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        children = [child for child, stat in parents.items() if stat and stat[1] == parent]
        found += children
        waiting += children
    return found


def usage(pids: Iterable[int]) -> Usage:
    """What these processes hold; one that has ended holds nothing."""
    stats = {pid: _stat(pid) for pid in pids}
    states = [stat[0] for stat in stats.values() if stat]
    return Usage(
        processes=len(states),
        zombies=states.count("Z"),
        threads=sum(len(_names(pid, "task")) for pid in stats),
        fds=sum(len(_names(pid, "fd")) for pid in stats),
        rss=sum(_rss(pid) for pid in stats),
        shared_memory=len(set().union(*(_shared_memory(pid) for pid in stats))),
    )


def has_open(pid: int, path: Path) -> bool:
    """Whether the process has the file open."""
    return str(path) in _links(pid)


def listens(pid: int, port: int) -> bool:
    """Whether the process has a listening TCP socket of the port."""
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in (PROC / f"net/{table}").read_text().splitlines()[1:]
    ]
    inodes = {
        f"socket:[{fields[9]}]"
        for fields in lines
        if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port
    }
    return bool(inodes & set(_links(pid)))


def _links(pid: int) -> list[str]:
    """The targets of the process's file descriptors."""
    found = []
    for fd in _names(pid, "fd"):
        with suppress(OSError):  # closed in the meantime
            found.append(os.readlink(PROC / f"{pid}/fd/{fd}"))
    return found


def _stat(pid: int) -> tuple[str, int] | None:
    """State and parent of a process, None if it has ended."""
    try:
        state, parent = (PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return state, int(parent)


def _rss(pid: int) -> int:
    try:
        return int((PROC / f"{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def _names(pid: int, folder: str) -> list[str]:
    try:
        return os.listdir(PROC / f"{pid}/{folder}")
    except OSError:
        return []


def _shared_memory(pid: int) -> set[str]:
    """Inodes of mapped shared memory. A file that several processes map has one inode."""
    try:
        lines = (PROC / f"{pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    mapped = [line.split(maxsplit=5) for line in lines]
    return {
        fields[4]
        for fields in mapped
        if len(fields) == 6 and fields[5].startswith(("/dev/shm/", "/memfd:", "/dev/zero"))
    }
