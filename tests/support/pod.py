"""A pod without a cluster: the command, secrets and probes as kubelet makes them."""

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import ModelServiceStub
from gemwire_server.security import tokens
from support.calling import command
from support.certificates import Authority, credentials
from uninstalled import environment

WAIT = 60.0
SUCCESS, FAILURE = True, False


def probe(host: str, probe: dict[str, Any]) -> bool:
    """What kubelet makes of a `grpc` probe: plain HTTP/2 to the pod's address, no metadata, and any
    answer but SERVING in time is a failure."""
    asked = probe["grpc"]
    timeout = probe.get("timeoutSeconds", 1)
    options = [
        ("grpc.primary_user_agent", "kube-probe/1.34"),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    with grpc.insecure_channel(f"{host}:{asked['port']}", options) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=asked.get("service", ""))
        try:
            answer = health.Check(request, timeout=timeout, wait_for_ready=True)
        except grpc.RpcError:
            return FAILURE
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


class Mount:
    """A secret's folder as kubelet makes and replaces it: names are links into what `..data` links to."""

    def __init__(self, folder: Path, files: dict[str, bytes]) -> None:
        self.folder = folder
        self._version = 0
        folder.mkdir(parents=True)
        self.replace(files)
        for name in files:
            (folder / name).symlink_to(Path("..data") / name)

    def replace(self, files: dict[str, bytes]) -> None:
        before = self.folder / f"..version{self._version}"
        self._version += 1
        made = self.folder / f"..version{self._version}"
        made.mkdir()
        for name, content in files.items():
            (made / name).write_bytes(content)
        (self.folder / "..data_tmp").symlink_to(made.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
        if before.exists():
            for path in before.iterdir():
                path.unlink()
            before.rmdir()


@dataclass
class Pod:
    """A server as its pod would run it. `host` is the pod's address."""

    host: str
    process: "subprocess.Popen[str]"
    servers: Authority
    clients: Authority
    tls: Mount
    tokens: Mount
    token: str
    checkpoint: Path

    @contextmanager
    def channel(self, own: bool = True) -> Iterator[grpc.Channel]:
        given = credentials(self.servers, self.clients.pair() if own else None)
        options = [
            ("grpc.ssl_target_name_override", "127.0.0.1"),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        with grpc.secure_channel(f"{self.host}:50051", given, options) as channel:
            yield channel

    def ask(self, token: str | None = None, own: bool = True) -> grpc.StatusCode:
        with self.channel(own) as channel:
            metadata = (("authorization", f"Bearer {token or self.token}"),)
            try:
                stub: Any = ModelServiceStub(channel)
                stub.ListModels(pb.ListModelsRequest(), timeout=WAIT, metadata=metadata)
            except grpc.RpcError as error:
                assert isinstance(error, grpc.Call)
                return error.code()
        return grpc.StatusCode.OK

    def children(self, part: str) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        words = {
            int(pid): Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in found.split()
        }
        return [pid for pid, line in words.items() if part in line]


@contextmanager
def running(
    container: dict[str, Any], checkpoint: Path, folder: Path, *more: str, fresh: bool = False
) -> Iterator[Pod]:
    """The manifest's arguments, but for the model, this folder's files, and an address of this machine.

    With `fresh` the cache is the manifest's, and empty; else the user's, which spares compiling again.
    """
    host = ".".join(["127", *(str(random.randint(2, 250)) for _ in range(3))])
    servers, clients = Authority(), Authority()
    pair = servers.pair()
    token, line = tokens.make("somebody")
    etc = folder / "etc" / "gemwire"
    tls = Mount(etc / "tls", {"tls.crt": pair.cert, "tls.key": pair.key})
    Mount(etc / "client-ca", {"ca.crt": clients.pem})
    listed = Mount(etc / "tokens", {"tokens": line.encode()})
    served = folder / "model"
    served.symlink_to(checkpoint)
    arguments = [
        argument.replace("google/embeddinggemma-300m", str(served))
        .replace("/etc/gemwire", str(etc))
        .replace("0.0.0.0", host)
        for argument in container["args"]
    ]
    assert not any("/etc/" in a.removeprefix(str(folder)) for a in arguments if "=/etc" in a)
    environ = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    environ = {key: value.replace("/var", str(folder / "var")) for key, value in environ.items()}
    cache = folder / "var" / "cache" / "gemwire"
    cache.mkdir(parents=True)
    cache.chmod(0o2777)  # as kubelet makes an emptyDir for an fsGroup
    (folder / "tmp").mkdir()
    environ = environ if fresh else {}
    program, *subcommand = container["command"]
    assert program == "gemwire"
    process = subprocess.Popen(
        command(*subcommand, *arguments, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment({**environ, "TMPDIR": str(folder / "tmp")}),
    )
    try:
        yield Pod(host, process, servers, clients, tls, listed, token, served)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
