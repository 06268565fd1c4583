"""The versions of sentence-transformers and transformers that checkpoints are compared with.

They are the venv's own and the sets of .ci/references.txt, which `make test` installs into
.venv/references, one folder a set.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from uninstalled import ROOT

LIST = ROOT / ".ci" / "references.txt"
FOLDER = Path(sys.prefix) / "references"


@dataclass(frozen=True, slots=True)
class Reference:
    """One set: its pins by package, and the folder it lies in. The venv's own has neither."""

    name: str
    pins: dict[str, str]
    folder: Path | None

    def run(self, script: Path, *arguments: str | Path) -> str:
        """What a Python script prints that runs with these versions in a process of its own, offline.

        Raises AssertionError with the end of what it wrote to stderr if it fails.
        """
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment["PYTHONPATH"] = str(self.folder or "")
        # -P: modules beside the script must not hide packages of the set.
        command = [sys.executable, "-P", str(script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, f"{script.name} with {self.name}:\n{done.stderr[-4000:]}"
        return done.stdout


def _listed() -> list[Reference]:
    lines = [line.split() for line in LIST.read_text().splitlines() if line[:1] not in ("", "#")]
    return [
        Reference(name, dict(pin.split("==") for pin in pins), FOLDER / name)
        for name, *pins in lines
    ]


def parameters(package: str = "") -> list[ParameterSet]:
    """The sets, or those with a package, for a fixture's `params` or a test's `parametrize`; one that is
    not installed is skipped."""
    return [
        pytest.param(
            reference,
            id=reference.name,
            marks=pytest.mark.skipif(
                reference.folder is not None and not reference.folder.is_dir(),
                reason=f"the versions of .ci/{LIST.name} are not installed",
            ),
        )
        for reference in [Reference("venv", {}, None), *_listed()]
        if not package or package in reference.pins
    ]


PARAMETERS = parameters()
