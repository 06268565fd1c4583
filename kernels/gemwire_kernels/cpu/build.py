"""Builds the native library for this CPU with an installed compiler, once; later starts find the file.

The library lies in the user's cache, named by what it was made of: its sources, the compiler, the flags
and what the CPU can do. Processes that start at the same time wait for one of them to build it.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

COMPILERS = ("c++", "g++", "clang++")
# No caller reads errno or traps, and compilers do not vectorize loops that may set them. No flag may
# reorder sums or assume finite numbers: NaN must come through, and a row's sums have one order.
FLAGS = (
    "-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC", "-shared",
)  # fmt: skip
SOURCES = ("api.cpp", "attention.h", "numbers.h", "product.h", "rows.h", "weights.h")
TIMEOUT_SECONDS = 300
CPUINFO = Path("/proc/cpuinfo")


class BuildError(Exception):
    """The native library cannot be built. The message gives the reason in one line."""


def library() -> Path:
    """Returns the path of the library for this machine, and builds a missing one. Raises BuildError."""
    compiler = find_compiler()
    command = [compiler, *FLAGS, *machine_flags()]
    target = cache_folder() / f"gemwire-{_key(command)}.so"
    if not target.exists():
        with _lock(target.with_suffix(".lock")):
            if not target.exists():  # another process may have built it meanwhile
                _build(command, target)
    return target


def find_compiler() -> str:
    """Returns the path of $CXX, or of the first usual compiler that is installed. Raises BuildError."""
    named = os.environ.get("CXX")
    for name in (named,) if named else COMPILERS:
        if found := shutil.which(name):
            return found
    raise BuildError(f"no C++ compiler: {named or ', '.join(COMPILERS)} not found")


def machine_flags() -> tuple[str, ...]:
    arm = platform.machine() in ("aarch64", "arm64")
    return ("-mcpu=native",) if arm else ("-march=native",)


def cache_folder() -> Path:
    """Returns a folder that this user alone may write to, as this process runs what lies there.
    Raises BuildError.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "gemwire"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except (OSError, RuntimeError) as error:
        raise BuildError(f"no cache folder: {error}") from None
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise BuildError(f"{folder} can be written by others: it is not used")
    return folder


def _key(command: list[str]) -> str:
    try:
        version = subprocess.run(
            [command[0], "--version"], capture_output=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{command[0]} does not run: {type(error).__name__}") from None
    digest = hashlib.sha256("\0".join([*command, platform.machine(), _cpu_features()]).encode())
    digest.update(version)
    for name in SOURCES:
        digest.update(_source(name).read_bytes())
    return digest.hexdigest()[:24]


def _cpu_features() -> str:
    """Returns the kernel's list of the CPU's features, as machines of different kinds may share a cache."""
    if not CPUINFO.exists():
        return platform.processor()
    lines = CPUINFO.read_text("utf-8", "replace").splitlines()
    wanted = ("flags", "Features", "model name", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _build(command: list[str], target: Path) -> None:
    with TemporaryDirectory(dir=target.parent) as folder:
        built = Path(folder) / target.name
        try:
            done = subprocess.run(
                [*command, str(_source("api.cpp")), "-o", str(built)],
                capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            raise BuildError(f"{command[0]} did not build it: {type(error).__name__}") from None
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line]
            raise BuildError(f"{command[0]}: {(errors or ['it failed'])[0]}")
        built.replace(target)


def _source(name: str) -> Path:
    return Path(str(files("gemwire_kernels.cpu").joinpath("native", name)))


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
