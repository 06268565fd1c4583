"""The .proto compiles from a checkout as docs/stubs.md says, and the checked-in stubs are fresh."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2

from support.scripted import scripted_server, status
from uninstalled import ROOT

PACKAGE = Path("gemwire/v1")
COMPAT = [
    file.relative_to(ROOT / "proto")
    for file in sorted((ROOT / "proto" / "gemwire_compat").glob("*.proto"))
]
PAGE = ROOT / "docs" / "stubs.md"
INCLUDES = (f"-I{ROOT / 'proto'}", f"-I{ROOT / 'third_party'}")
SEARCHED = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
# grpcio's package has the file under another name.
PUBLISHED = {
    "google/rpc/status.proto": status_pb2.DESCRIPTOR,
    "google/rpc/error_details.proto": error_details_pb2.DESCRIPTOR,
    "grpc/health/v1/health.proto": health_pb2.DESCRIPTOR,
}


def run(*command: str) -> None:
    # The compiler looks for its plugins on the PATH, where a virtual environment need not be.
    environ = os.environ | {"PATH": SEARCHED}
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def protoc(*arguments: str) -> None:
    """Runs protoc itself: grpcio-tools' has the generators of Python alone."""
    found = shutil.which("protoc", path=SEARCHED)
    if found is None:
        pytest.skip("protoc is not installed")
    run(found, *arguments)


@pytest.mark.parametrize(
    ("sources", "outputs"),
    [
        ([PACKAGE / "embedding.proto"], ("python", "pyi", "grpc_python", "mypy_grpc")),
        (COMPAT, ("python", "pyi")),
    ],
    ids=["gemwire.v1", "compat"],
)
def test_stubs_are_fresh(tmp_path: Path, sources: list[Path], outputs: tuple[str, ...]) -> None:
    pytest.importorskip("grpc_tools", reason="grpc_tools is not installed")
    arguments = [*INCLUDES, *(f"--{name}_out={tmp_path}" for name in outputs)]
    run(sys.executable, "-m", "grpc_tools.protoc", *arguments, *map(str, sources))
    made = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    assert len(made) == len(sources) * len(outputs) > 0
    for file in made:
        checked_in = ROOT / "proto" / file.relative_to(tmp_path)
        assert checked_in.read_text() == file.read_text(), f"{file.name} is stale: run make stubs"


def commands() -> list[str]:
    """The lines of the page that call protoc."""
    return re.findall(r"^protoc (.*)$", PAGE.read_text(), re.MULTILINE)


def test_the_pages_commands_work(tmp_path: Path) -> None:
    found = commands()
    assert len(found) == 7
    for command in found:
        name = re.findall(r"--(\w+)_out=OUT", command)[0]
        folder = tmp_path / name
        folder.mkdir()
        protoc(*command.replace("OUT", str(folder)).split())
        assert any(folder.rglob("*")), command


def test_the_pages_example_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert "127.0.0.1:50051" in example
    monkeypatch.chdir(ROOT)
    with scripted_server() as (scripted, address):
        scripted.failures.append(status(grpc.StatusCode.INVALID_ARGUMENT, "EMPTY_TEXT"))
        exec(example.replace("127.0.0.1:50051", address), {})
    assert capsys.readouterr().out == "True\n"


@pytest.mark.parametrize("output", ["java_out=lite:", "kotlin_out=lite:", "cpp_out=lite:"])
def test_lite_runtimes(tmp_path: Path, output: str) -> None:
    protoc(*INCLUDES, f"--{output}{tmp_path}", *PUBLISHED, str(PACKAGE / "embedding.proto"))
    assert any(path.is_file() for path in tmp_path.rglob("*"))


def test_third_party_is_what_is_published(tmp_path: Path) -> None:
    """Packages, names, numbers, types and options, by protobuf's own descriptors."""
    image = tmp_path / "image"
    protoc(*INCLUDES, f"--descriptor_set_out={image}", *PUBLISHED)
    made = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    assert {file.name for file in made.file} == set(PUBLISHED)
    for file in made.file:
        expected = descriptor_pb2.FileDescriptorProto()
        PUBLISHED[file.name].CopyToProto(expected)
        expected.name = file.name
        assert described(file) == described(expected)


def described(file: descriptor_pb2.FileDescriptorProto) -> list[str]:
    """The lines of a descriptor without JSON names, which a loaded file has lost."""
    return [line for line in str(file).splitlines() if "json_name:" not in line]
