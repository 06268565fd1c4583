"""`buf curl`, whose runtime is connect-go, against a real server by reflection."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import Parse
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1 import embedding_pb2_grpc as stubs
from gemwire_server.security.tokens import make
from support.certificates import Authority
from support.server_process import server_process

BUF = Path(sys.executable).parent / "buf"
EMBED = "gemwire.v1.EmbeddingService/Embed"
TEXT = {"input": {"text": "Mars"}}
# Exit codes are 8 times gRPC's codes.
INVALID_ARGUMENT, UNAUTHENTICATED = 8 * 3, 8 * 16

pytestmark = pytest.mark.skipif(not BUF.exists(), reason="buf is not installed")


def run(folder: Path, arguments: list[str], data: str) -> "subprocess.CompletedProcess[str]":
    """Runs buf curl with the messages on its standard input. It reaches this machine alone."""
    nowhere = "http://127.0.0.1:1"
    environment = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder), "PATH": str(folder)}
    environment |= {"HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere}  # Go asks no proxy for 127.0.0.1
    command = [str(BUF), "curl", "--protocol", "grpc", "--data", "@-", *arguments]
    return subprocess.run(
        command, input=data, env=environment, capture_output=True, text=True, timeout=60
    )


def printed(said: str) -> list[dict[str, Any]]:
    """The JSON objects that were printed one after the other."""
    decoder, found = json.JSONDecoder(), []
    while said := said.lstrip():
        value, end = decoder.raw_decode(said)
        found.append(value)
        said = said[end:]
    return found


def detail(error: dict[str, Any], index: int) -> tuple[str, bytes]:
    """The type and the bytes of one of an error's details."""
    found = error["details"][index]
    return found["type"], base64.b64decode(found["value"] + "==")


@pytest.fixture(scope="module")
def plain(tiny_checkpoint: Path) -> Iterator[str]:
    with server_process(tiny_checkpoint) as server:
        yield server.address


def curl(
    folder: Path, address: str, method: str, *messages: dict[str, Any]
) -> "subprocess.CompletedProcess[str]":
    data = "\n".join(map(json.dumps, messages))
    return run(folder, ["--http2-prior-knowledge", f"http://{address}/{method}"], data)


def test_embed(plain: str, tmp_path: Path) -> None:
    done = curl(tmp_path, plain, EMBED, TEXT)
    assert done.returncode == 0, done.stderr
    with grpc.insecure_channel(plain) as channel:
        request = pb.EmbedRequest(input=pb.EmbedInput(text="Mars"))
        assert Parse(done.stdout, pb.EmbedResponse()) == stubs.EmbeddingServiceStub(channel).Embed(
            request
        )


def test_list_models(plain: str, tmp_path: Path) -> None:
    done = curl(tmp_path, plain, "gemwire.v1.ModelService/ListModels", {})
    assert done.returncode == 0, done.stderr
    with grpc.insecure_channel(plain) as channel:
        listed = stubs.ModelServiceStub(channel).ListModels(pb.ListModelsRequest())
    assert len(listed.models) == 1
    assert Parse(done.stdout, pb.ListModelsResponse()) == listed


def test_embed_stream(plain: str, tmp_path: Path) -> None:
    """The largest id is exact, for JSON has it as a string."""
    largest = 2**64 - 1
    done = curl(
        tmp_path,
        plain,
        "gemwire.v1.EmbeddingService/EmbedStream",
        {"open": {"options": {"encoding": "VECTOR_ENCODING_UBINARY"}, "ordered": True}},
        {"batch": {"firstId": str(largest), "inputs": [{"text": "one"}, {"text": ""}]}},
        {"batch": {"firstId": "7", "inputs": [{"text": "two"}]}},
    )
    assert done.returncode == 0, done.stderr
    first, *rest = printed(done.stdout)
    assert first["opened"]["maxInflightInputs"] > 0
    results = [result for message in rest for result in message["results"]["results"]]
    assert [result.get("id", "0") for result in results] == [str(largest), "0", "7"]
    assert results[1]["error"]["message"] == "the text is empty"
    assert results[1]["error"]["details"][0]["reason"] == "EMPTY_TEXT"
    assert results[2]["embedding"]["dimensions"] == 96


def test_an_error_has_its_details(plain: str, tmp_path: Path) -> None:
    done = curl(tmp_path, plain, EMBED, {"input": {"text": ""}})
    assert done.returncode == INVALID_ARGUMENT and done.stdout == ""
    error = json.loads(done.stderr)
    assert (error["code"], error["message"]) == ("invalid_argument", "the text is empty")
    kind, value = detail(error, 0)
    info = ErrorInfo.FromString(value)
    assert (kind, info.reason) == ("google.rpc.ErrorInfo", "EMPTY_TEXT")
    kind, value = detail(error, 1)
    assert kind == "google.rpc.BadRequest"
    assert BadRequest.FromString(value).field_violations[0].field == "input.text"


def test_an_error_of_a_stream(plain: str, tmp_path: Path) -> None:
    batch = {"batch": {"inputs": [{"text": "one"}]}}
    done = curl(tmp_path, plain, "gemwire.v1.EmbeddingService/EmbedStream", batch)
    assert done.returncode == INVALID_ARGUMENT
    assert ErrorInfo.FromString(detail(json.loads(done.stderr), 0)[1]).reason == "STREAM_NOT_OPEN"


@pytest.fixture(scope="module")
def secured(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[str], str]]:
    """The arguments that reach a server behind TLS, and a token of it."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority()
    (folder / "ca.pem").write_bytes(authority.pem)
    authority.pair().write(folder / "server.pem", folder / "server.key")
    token, line = make("edges", 0, 0)
    (folder / "tokens").write_text(line + "\n")
    flags = ["--tls-cert", str(folder / "server.pem"), "--tls-key", str(folder / "server.key")]
    flags += ["--tokens-file", str(folder / "tokens")]
    with server_process(tiny_checkpoint, *flags) as server:
        yield ["--cacert", str(folder / "ca.pem"), f"https://{server.address}/{EMBED}"], token


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [("right", 0, ""), ("wrong", UNAUTHENTICATED, "WRONG_TOKEN"), ("", UNAUTHENTICATED, "MISSING_TOKEN")],
)  # fmt: skip
def test_over_tls_with_a_token(
    secured: tuple[list[str], str], tmp_path: Path, sent: str, code: int, reason: str
) -> None:
    arguments, token = secured
    value = token if sent == "right" else sent
    headers = ["--header", f"authorization: Bearer {value}"] if sent else []
    done = run(tmp_path, [*headers, *arguments], json.dumps(TEXT))
    assert done.returncode == code, done.stderr
    if reason:
        assert ErrorInfo.FromString(detail(json.loads(done.stderr), 0)[1]).reason == reason
    else:
        assert json.loads(done.stdout)["embedding"]["dimensions"] == 96


def test_over_tls_without_the_authority(secured: tuple[list[str], str], tmp_path: Path) -> None:
    arguments, token = secured
    headers = ["--header", f"authorization: Bearer {token}"]
    done = run(tmp_path, [*headers, arguments[-1]], json.dumps(TEXT))
    assert done.returncode == 1 and done.stdout == ""
