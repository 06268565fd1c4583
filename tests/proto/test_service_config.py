"""The service config beside the .proto: its methods, how gRPC follows it, and that the wheel holds it."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1 import embedding_pb2_grpc as stubs
from gemwire_client import SERVICE_CONFIG
from support.scripted import Scripted, foreign, scripted_server
from uninstalled import ROOT, environment

CONFIG = ROOT / "proto" / "gemwire" / "v1" / "service_config.json"
EMBED = pb.EmbedRequest(input=pb.EmbedInput(text="Mars"))


@pytest.fixture
def server() -> Iterator[tuple[Scripted, str]]:
    with scripted_server() as running:
        yield running


def with_config(address: str) -> grpc.Channel:
    """A channel as a program opens it that has the stubs and the file alone."""
    return grpc.insecure_channel(address, [("grpc.service_config", CONFIG.read_text("utf-8"))])


def test_every_unary_method_is_named_and_no_stream() -> None:
    (policy,) = json.loads(CONFIG.read_text("utf-8"))["methodConfig"]
    services = pb.DESCRIPTOR.services_by_name.values()
    methods = {method for service in services for method in service.methods}
    for method in methods:
        service = method.containing_service.full_name
        named = {"service": service} in policy["name"]
        named |= {"service": service, "method": method.name} in policy["name"]
        assert named == (not method.client_streaming and not method.server_streaming), method.name
    known = {method.full_name for method in methods} | {service.full_name for service in services}
    for name in policy["name"]:
        assert ".".join(name.values()) in known


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_grpc_repeats_a_call_whose_server_went_away(
    server: tuple[Scripted, str], code: grpc.StatusCode
) -> None:
    scripted, address = server
    scripted.failures.extend([foreign(code)] * 3)
    with with_config(address) as channel:
        answer = stubs.EmbeddingServiceStub(channel).Embed(EMBED, timeout=30)
    assert answer.embedding.token_count == 4 and len(scripted.requests) == 4


def test_grpc_gives_up_after_four_tries(server: tuple[Scripted, str]) -> None:
    scripted, address = server
    scripted.failures.extend([foreign(grpc.StatusCode.UNAVAILABLE)] * 5)
    with with_config(address) as channel, pytest.raises(grpc.RpcError):
        stubs.EmbeddingServiceStub(channel).Embed(EMBED, timeout=30)
    assert len(scripted.requests) == 4


def test_grpc_repeats_no_other_failure_and_no_stream(server: tuple[Scripted, str]) -> None:
    scripted, address = server
    with with_config(address) as channel:
        stub = stubs.EmbeddingServiceStub(channel)
        scripted.failures.append(foreign(grpc.StatusCode.RESOURCE_EXHAUSTED))
        with pytest.raises(grpc.RpcError):
            stub.Embed(EMBED, timeout=30)
        scripted.failures.append(foreign(grpc.StatusCode.UNAVAILABLE))
        opening = pb.EmbedStreamRequest(open=pb.StreamOpen())
        with pytest.raises(grpc.RpcError):
            list(stub.EmbedStream(iter([opening]), timeout=30))
    assert len(scripted.requests) == 2 and scripted.streams == 1


def test_the_wheel_holds_it(tmp_path: Path) -> None:
    """The client of an unpacked wheel loads it. The image of the frozen API stays at home."""
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "frozen" in name]
        archive.extractall(tmp_path / "unpacked")
    code = (
        "import gemwire_client as c, json; print(c.__file__); print(json.dumps(c.SERVICE_CONFIG))"
    )
    environ = environment() | {"PYTHONPATH": str(tmp_path / "unpacked")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    loaded_from, config = done.stdout.splitlines()
    assert Path(loaded_from).is_relative_to(tmp_path)
    assert json.loads(config) == SERVICE_CONFIG == json.loads(CONFIG.read_text("utf-8"))
