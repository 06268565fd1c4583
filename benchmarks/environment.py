"""Records what a figure depends on: the machine, the versions, the revision."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from gemwire_server.checkpoints.synthetic import make_checkpoint
from uninstalled import ROOT

PACKAGES = (
    "gemwire",
    "torch",
    "transformers",
    "sentence-transformers",
    "llama-cpp-python",
    "gguf",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "sentencepiece",
    "grpcio",
    "protobuf",
    "numpy",
    "triton",
)


# The CPU's flags that matrix products are written for.
FLAGS = ("avx", "amx", "fma", "f16c", "asimd", "bf16", "i8mm", "sve")


def environment() -> dict[str, Any]:
    info = cpu_info()
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cpu_flags": sorted(
            flag
            for flag in (info.get("flags") or info.get("Features") or "").split()
            if flag.startswith(FLAGS)
        ),
        "load_average": os.getloadavg(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "revision": _git("describe", "--always", "--dirty")
        or os.environ.get("SOURCE_REVISION", ""),
    }


def cpu_info() -> dict[str, str]:
    """Returns the fields that Linux lists for the last processor."""
    if not (path := Path("/proc/cpuinfo")).exists():
        return {}
    lines = [line.split(":", 1) for line in path.read_text().splitlines() if ":" in line]
    return {key.strip(): value.strip() for key, value in lines}


def full_checkpoint() -> Path:
    """Returns the seeded checkpoint of the full geometry, which is made once."""
    folder = ROOT / ".cache" / "embeddinggemma-300m-seed0"
    if not folder.exists():
        vocabulary = os.environ.get("GEMMA_TOKENIZER")  # the path of Gemma 3's tokenizer.model
        make_checkpoint(
            folder,
            geometry="embeddinggemma-300m",
            seed=0,
            tokenizer=Path(vocabulary) if vocabulary else None,
        )
    return folder


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    """Returns the revision, or an empty string without git or without the repository's history."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()
