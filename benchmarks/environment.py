"""What a figure depends on besides the code: the machine, the versions, the revision."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from gemwire_server.checkpoint.synthetic import make_checkpoint

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "gemwire",
    "torch",
    "transformers",
    "sentence-transformers",
    "sentencepiece",
    "grpcio",
    "numpy",
    "triton",
)


def environment() -> dict[str, Any]:
    cpu = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        cpu = next((v.strip() for k, v in lines.items() if k.strip() == "model name"), cpu)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return {
        "cpu": cpu,
        "cpu_features": sorted(
            name
            for name, there in capabilities.items()
            if there is True and name.startswith(("avx512_bf16", "avx512_vnni", "amx", "avx2"))
        ),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "revision": _git("describe", "--always", "--dirty")
        or os.environ.get("GEMWIRE_REVISION", ""),
    }


def full_checkpoint() -> Path:
    """The seeded checkpoint of the full geometry, made once."""
    folder = ROOT / ".cache" / "embeddinggemma-300m-seed0"
    if not folder.exists():
        vocabulary = ROOT.parent / "shared" / "data" / "gemma3_tokenizer.model"
        make_checkpoint(
            folder,
            geometry="embeddinggemma-300m",
            seed=0,
            tokenizer=vocabulary if vocabulary.exists() else None,
        )
    return folder


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
