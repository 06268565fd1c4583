"""Clients of other servers, run as programs of their own.

The sets of .ci/peer-clients.txt, which `make test` installs into .venv/peers, one folder a set, hold the
clients, and so does NPM, where there is npm. A script of tests/clients/peers/scripts uses one of them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from uninstalled import ROOT

LIST = ROOT / ".ci" / "peer-clients.txt"
FOLDER = Path(sys.prefix) / "peers"
SCRIPTS = ROOT / "tests" / "clients" / "peers" / "scripts"
NPM = "npm"
"""The set of the packages for Node.js."""
WAIT = 120.0


def sets() -> list[str]:
    """The names of the sets."""
    lines = LIST.read_text().splitlines()
    return [line.split()[0] for line in lines if line[:1] not in ("", "#")]


def parameter(name: str, *values: str) -> ParameterSet:
    """A set and further values for a test's `parametrize`; skipped where the set is not installed."""
    what = "the packages for Node.js" if name == NPM else f"the clients of .ci/{LIST.name}"
    mark = pytest.mark.skipif(not (FOLDER / name).is_dir(), reason=f"{what} are not installed")
    return pytest.param(name, *values, id=" ".join([name, *values]), marks=mark)


def run(name: str, script: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a script prints that uses the packages of a set and no others.

    The script, for Python or Node.js, gets `given` as JSON and prints JSON. Raises AssertionError with the
    end of what the script wrote to stderr if it fails.
    """
    [path] = SCRIPTS.glob(f"{script}.*")
    kept = ("PATH", "HOME", "LANG")
    environment = {key: os.environ[key] for key in kept if key in os.environ}
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(FOLDER / name), str(ROOT / "tests")]),
        "NODE_PATH": str(FOLDER / name / "node_modules"),
        "HAYSTACK_TELEMETRY_ENABLED": "false",
        "LITELLM_LOCAL_MODEL_COST_MAP": "true",
    }
    # -S: without the packages of the venv; -P: without the folder of the script before those of the set.
    command = [sys.executable, "-S", "-P"] if path.suffix == ".py" else ["node"]
    command += [str(path), json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=WAIT)
    assert done.returncode == 0, f"{script} with {name}:\n{done.stderr[-4000:]}"
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed
