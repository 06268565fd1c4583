"""Names of checkpoints: folders, and hub ids against a hub on the loopback."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest

from gemwire_server.checkpoints import hub, open_checkpoint
from gemwire_server.checkpoints.hub import resolve
from gemwire_server.errors import CheckpointError

REPO, COMMIT = "planets/tiny", "0123456789abcdef0123456789abcdef01234567"
UNWANTED = {"README.md": b"# Tiny", "pytorch_model.bin": b"weights", "onnx/model.onnx": b"graph"}


@dataclass
class Hub:
    """Answers as the hub does for one repository. `refuse` is the status and the X-Error-Code."""

    files: dict[str, bytes]
    url: str = ""
    refuse: tuple[int, str] | None = None
    refuse_files: tuple[int, str] | None = None
    cut: str = ""
    fetched: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    def __init__(self, hub: Hub, *arguments: object) -> None:
        self.hub = hub
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        api, resolve = f"/api/models/{REPO}", f"/{REPO}/resolve/{COMMIT}/"
        if refused := self.hub.refuse_files if path.startswith(resolve) else self.hub.refuse:
            self.refuse(*refused)
        elif path in (f"{api}/revision/main", f"{api}/revision/v1"):
            self.answer_json({"id": REPO, "sha": COMMIT, "siblings": []})
        elif path == f"{api}/tree/{COMMIT}":
            self.answer_json(
                [
                    {"type": "file", "path": name, "size": len(body), "oid": etag(body)}
                    for name, body in self.hub.files.items()
                ]
            )
        elif path.startswith(resolve) and (name := path.removeprefix(resolve)) in self.hub.files:
            self.answer_file(name)
        elif path.startswith(f"{api}/revision/"):
            self.refuse(404, "RevisionNotFound")
        else:
            self.refuse(404, "RepoNotFound")

    do_HEAD = do_GET

    def answer_file(self, name: str) -> None:
        body = self.hub.files[name]
        headers = {"ETag": f'"{etag(body)}"', "X-Repo-Commit": COMMIT}
        headers |= {"X-Linked-Size": str(len(body)), "X-Linked-Etag": f'"{etag(body)}"'}
        if self.command == "GET":
            self.hub.fetched.append(name)
        self.answer(200, body, headers, sent=len(body) // (2 if name == self.hub.cut else 1))

    def answer_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.answer(200, body, {"Content-Type": "application/json"}, sent=len(body))

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, b"", {"X-Error-Code": code} if code else {}, sent=0)

    def answer(self, status: int, body: bytes, headers: dict[str, str], *, sent: int) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:sent])

    def log_message(self, format: str, *args: object) -> None:
        pass


def etag(body: bytes) -> str:
    return hashlib.sha1(body).hexdigest()


@pytest.fixture
def served(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has the tiny checkpoint, and `resolve` turned to it, with a cache of its own."""
    paths = (path for path in tiny_checkpoint.rglob("*") if path.is_file())
    served = Hub({str(path.relative_to(tiny_checkpoint)): path.read_bytes() for path in paths})
    served.files |= UNWANTED
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, served)) as server:
        served.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        turn(monkeypatch, served.url, tmp_path / "cache")
        yield served
        server.shutdown()
        thread.join()


def turn(monkeypatch: pytest.MonkeyPatch, endpoint: str, cache: Path) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(
        hub,
        "snapshot_download",
        partial(huggingface_hub.snapshot_download, endpoint=endpoint, cache_dir=cache),
    )


def failure(call: Callable[[], object]) -> str:
    with pytest.raises(CheckpointError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_folder_is_taken_as_it_is(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = resolve(str(tiny_checkpoint))
    assert (resolved.path, resolved.name, resolved.revision) == (tiny_checkpoint, "tiny", None)
    monkeypatch.chdir(tiny_checkpoint)
    assert resolve(".").name == "tiny"
    assert "a revision goes with a hub id" in failure(lambda: resolve(".", "main"))


@pytest.mark.parametrize(
    "model", ["", "tiny", "./no/folder", "/no/folder", "a/b/c", "a b/c", "../x"]
)
def test_neither_a_folder_nor_a_hub_id(model: str) -> None:
    message = failure(lambda: resolve(model))
    assert repr(model) in message and "neither a folder nor a hub id" in message


@pytest.mark.parametrize("revision", [None, "v1", COMMIT])
def test_a_hub_id_is_downloaded(served: Hub, revision: str | None) -> None:
    resolved = resolve(REPO, revision)
    assert (resolved.name, resolved.revision) == (REPO, COMMIT)
    found = {
        str(path.relative_to(resolved.path)): path.read_bytes()
        for path in resolved.path.rglob("*")
        if path.is_file()
    }
    assert found == {name: body for name, body in served.files.items() if name not in UNWANTED}
    assert sorted(served.fetched) == sorted(found)
    served.fetched.clear()
    assert resolve(REPO, revision) == resolved and served.fetched == []


def test_hf_endpoint_is_followed(served: Hub, tmp_path: Path) -> None:
    environment = {"HF_ENDPOINT": served.url, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    code = f"from gemwire_server.checkpoints.hub import resolve; print(resolve({REPO!r}).revision)"
    path = os.pathsep.join(sys.path)
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.strip() == COMMIT


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("where", ["refuse", "refuse_files"])
def test_a_gated_repository(served: Hub, status: int, where: str) -> None:
    setattr(served, where, (status, "GatedRepo"))
    message = failure(lambda: resolve(REPO))
    assert f"gated: accept its terms at https://huggingface.co/{REPO}" in message
    assert "HF_TOKEN or `hf auth login`" in message


@pytest.mark.parametrize("refuse", [None, (401, "RepoNotFound")])
def test_no_such_repository(served: Hub, refuse: tuple[int, str] | None) -> None:
    served.refuse = refuse
    name = "planets/other" if refuse is None else REPO
    message = failure(lambda: resolve(name))
    assert message.startswith(f"{name}: no such folder here, and no such repository on the hub")
    assert "if it is private" in message


def test_no_such_revision(served: Hub) -> None:
    message = failure(lambda: resolve(REPO, "v9"))
    assert "no revision 'v9'" in message and f"{REPO}/commits/main" in message


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_will_not_do(served: Hub, status: int) -> None:
    served.refuse = (status, "")
    message = failure(lambda: resolve(REPO))
    assert f"refused access (HTTP {status}); pass a token" in message


def test_a_cut_transfer_is_named_and_a_rerun_completes_it(
    served: Hub, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = served.cut = "model.safetensors"
    with monkeypatch.context() as patched:
        patched.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
        message = failure(lambda: resolve(REPO))
    assert "the download failed (" in message and "run it again" in message
    served.cut = ""
    resolved = resolve(REPO)
    assert (resolved.path / name).read_bytes() == (tiny_checkpoint / name).read_bytes()
    assert served.fetched.count("config.json") == 1


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_port
    turn(monkeypatch, f"http://127.0.0.1:{port}", tmp_path)
    message = failure(lambda: resolve(REPO))
    assert "the download failed (" in message and "run it again" in message


def test_offline_mode(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "offline mode (HF_HUB_OFFLINE) is on" in failure(lambda: resolve(REPO))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    resolved = resolve(REPO)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve(REPO) == resolved
    (resolved.path / "model.safetensors").unlink()
    assert "not all in the cache" in failure(lambda: resolve(REPO))


@pytest.mark.parametrize("alone", [False, True])
def test_an_adapter_of_the_hub_is_named(served: Hub, alone: bool) -> None:
    adapter = b'{"base_model_name_or_path": "google/embeddinggemma-300m"}'
    if alone:
        served.files = {"README.md": b"# LoRA", "adapter_model.safetensors": b"weights"}
    served.files["adapter_config.json"] = adapter
    message = failure(lambda: open_checkpoint(REPO))
    assert "this is a PEFT adapter for google/embeddinggemma-300m" in message
