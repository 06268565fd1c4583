"""Facts of this installation and this machine, without importing anything heavy."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gemwire_server import __version__

PACKAGES = (
    "torch",
    "triton",
    "grpcio",
    "protobuf",
    "sentencepiece",
    "safetensors",
    "numpy",
    "pyarrow",
    "rich",
)
# The features by which the kernels and PyTorch choose, x86 and Arm, as Linux spells them.
FEATURES = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_tile", "amx_bf16", "amx_int8", "asimd", "sve", "bf16", "i8mm",
)  # fmt: skip
CPUINFO = Path("/proc/cpuinfo")
NVIDIA = Path("/proc/driver/nvidia/gpus")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def facts() -> dict[str, object]:
    cpu = _cpuinfo()
    return {
        "gemwire": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": next((core["model name"] for core in cpu if "model name" in core), None),
        "cpu_features": _features(cpu),
        "cores": _physical_cores(cpu),
        "threads": os.cpu_count(),
        "threads_allowed": len(os.sched_getaffinity(0)),
        "cpu_quota": _quota(),
        "gpus": _gpus(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpuinfo() -> list[dict[str, str]]:
    """A dict for each hardware thread; empty where the system lists none."""
    if not CPUINFO.exists():
        return []
    blocks = CPUINFO.read_text("utf-8", "replace").strip().split("\n\n")
    split = [[line.partition(":") for line in block.split("\n")] for block in blocks]
    return [{key.strip(): value.strip() for key, _, value in lines} for lines in split]


def _features(cpu: list[dict[str, str]]) -> list[str]:
    words = set((cpu[0].get("flags") or cpu[0].get("Features", "")).split()) if cpu else set()
    return [feature for feature in FEATURES if feature in words]


def _physical_cores(cpu: list[dict[str, str]]) -> int | None:
    cores = {(core["physical id"], core["core id"]) for core in cpu if "core id" in core}
    return len(cores) or None


def _gpus() -> list[str]:
    """The GPU models that NVIDIA's driver lists."""
    said = [path.read_text("utf-8", "replace") for path in sorted(NVIDIA.glob("*/information"))]
    lines = [line.partition(":") for text in said for line in text.splitlines()]
    return [value.strip() for key, _, value in lines if key.strip() == "Model"]


def _quota() -> float | None:
    """How many CPUs' worth of time the container may use; None without a quota."""
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return None
