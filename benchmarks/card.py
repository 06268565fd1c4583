"""Describes the GPU that figures are from, and its ceilings."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from statistics import median
from typing import Any

import torch
import triton

from gemwire_kernels.gpu.timing import capture, interleave

COPY_BYTES = 1 << 31
MATRIX = 8192


def require_cuda() -> torch.device:
    """The first GPU; a program that needs one ends here where there is none."""
    if not torch.cuda.is_available():
        raise SystemExit("this benchmark needs a CUDA device, and PyTorch sees none here")
    return torch.device("cuda", torch.cuda.current_device())


def card() -> dict[str, Any]:
    """Returns the facts for the JSON line, with the present clocks."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {
        "gpu": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "l2_bytes": properties.L2_cache_size,
        "cuda": torch.version.cuda,
        "triton": triton.__version__,
        **_nvidia_smi("driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit"),
    }


def ceilings(
    device: torch.device, copied: int = COPY_BYTES, matrix: int = MATRIX
) -> dict[str, float]:
    """Measures bytes a second of a large copy by a kernel, read plus written, and operations a second
    of a large product in bfloat16 through cuBLAS.

    `copied` is in bytes. Both take random values, as zeros run faster.
    """
    source = torch.randn(copied // 4, device=device)
    target = torch.empty_like(source)
    a, b = (torch.randn(matrix, matrix, device=device).bfloat16() for _ in range(2))
    # Sizes beyond the L2: one set of inputs is enough. A graph's memcpy is slower than a kernel: 2.7 TB/s
    # on an H200 where `neg` moves more.
    seconds = interleave(
        {
            "copy": capture([lambda: torch.neg(source, out=target)]),
            "memcpy": capture([lambda: target.copy_(source)]),
            "matmul": capture([lambda: a @ b]),
        },
        seconds=1.0,
    )
    return {
        "bytes_per_second": 2 * copied / seconds["copy"],
        "memcpy_bytes_per_second": 2 * copied / seconds["memcpy"],
        "flops_per_second": 2 * matrix**3 / seconds["matmul"],
    }


@contextmanager
def clocks_under_load(found: dict[str, float]) -> Iterator[None]:
    """Samples clocks and power while the context runs, and writes their medians into `found`.

    Without them, a rate in a long run that is under that of one step looks like the host's fault; the card
    may have lowered its clocks to stay inside its power limit.
    """
    names = ("clocks.sm", "power.draw", "temperature.gpu")
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"]
    try:
        sampling = subprocess.Popen(
            [*command, "--id=0", "--loop-ms=50"], stdout=subprocess.PIPE, text=True
        )
    except OSError:
        yield
        return
    try:
        yield
    finally:
        sampling.terminate()
        said, _ = sampling.communicate(timeout=20)
    lines = [line.split(",") for line in said.splitlines()]
    for name, values in zip(names, zip(*lines, strict=False), strict=False):
        with suppress(ValueError):  # a card that does not tell
            found[name] = median(map(float, values))


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _nvidia_smi(*names: str) -> dict[str, str]:
    try:
        said = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader", "--id=0"],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(names, (value.strip() for value in said.split(",")), strict=False))
