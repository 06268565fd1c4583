"""The checked-in stubs are what the .proto generates."""

import os
import subprocess
import sys
from pathlib import Path

import google.rpc.status_pb2
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = Path("gemwire/v1")
INCLUDES = Path(google.rpc.status_pb2.__file__).parents[2]


def test_stubs_are_fresh(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="the generator comes with the extra `dev`")
    outputs = ("python", "pyi", "grpc_python", "mypy_grpc")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", f"-I{INCLUDES}"]
    command += [f"--{name}_out={tmp_path}" for name in outputs]
    # protoc looks for its plugins on the PATH, where a virtual environment need not be.
    plugins = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(
        [*command, str(PACKAGE / "embedding.proto")],
        env=os.environ | plugins,
        check=True,
        capture_output=True,
    )
    made = sorted((tmp_path / PACKAGE).iterdir())
    assert len(made) == 4
    for file in made:
        checked_in = ROOT / "proto" / PACKAGE / file.name
        assert checked_in.read_text() == file.read_text(), f"{file.name} is stale: run make stubs"
