"""docs/migrating.md, block by block: its code runs against a server as it stands, but for the addresses."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.peer_clients import FOLDER
from support.server_process import ServerProcess, server_process
from uninstalled import ROOT

PAGE = ROOT / "docs" / "migrating.md"
BLOCKS = re.findall(
    r"^```(python|sh)\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "sh" and "gemwire serve" not in code]
CLIENTS = FOLDER / "latest"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with server_process(Path("gemwire-mini"), "--http-address", "127.0.0.1:0") as server:
        yield server


def adapted(code: str, server: ServerProcess) -> str:
    """The code with the server's addresses in place of the page's."""
    assert "127.0.0.1:8080" in code or "127.0.0.1:50051" in code
    return code.replace("127.0.0.1:8080", server.http).replace("127.0.0.1:50051", server.address)


def test_the_page_has_blocks() -> None:
    assert len(PYTHON) >= 9 and len(SHELL) == 1


@pytest.mark.skipif(
    not CLIENTS.is_dir(), reason="the clients of .ci/peer-clients.txt are not installed"
)
@pytest.mark.parametrize("code", PYTHON, ids=[code.split()[1] for code in PYTHON])
def test_python_runs(code: str, server: ServerProcess) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    environment |= {"PYTHONPATH": str(CLIENTS), "HAYSTACK_TELEMETRY_ENABLED": "false"}
    environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "true"}
    command = [sys.executable, "-S", "-P", "-c", adapted(code, server)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("code", SHELL)
def test_shell_runs(code: str, server: ServerProcess) -> None:
    command = ["sh", "-c", adapted(code, server)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("[[")
