"""deploy/kubernetes/gemwire.yaml without a cluster: its arguments, and its probes as kubelet makes them."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub, ModelServiceStub
from gemwire_kernels.cpu.build import COMPILERS
from gemwire_server.fronts.grpc.server import SENDING_SECONDS
from gemwire_server.processes.supervisor import ENDING_SECONDS
from gemwire_server.security import tokens
from gemwire_server.service.service import ABANDON_SECONDS
from support.calling import command
from support.certificates import Authority, credentials
from support.harness import text
from support.paths import ROOT
from support.scrape import scrape_until
from uninstalled import environment

MANIFEST = ROOT / "deploy" / "kubernetes" / "gemwire.yaml"
WAIT = 60.0
SUCCESS, FAILURE = True, False


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    deployment, service = yaml.safe_load_all(MANIFEST.read_text())
    template = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    return dict(template["spec"])


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["containers"]
    return dict(only)


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


def until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_probes_while_it_starts_serves_and_drains(
    container: dict[str, Any], pod: dict[str, Any], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    startup, ready, live = (
        container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")
    )
    with running(container, tiny_checkpoint, tmp_path, fresh=True) as run:
        host = run.host
        assert probe(host, {**startup, "timeoutSeconds": 0.2}) is FAILURE  # it has just begun
        until(lambda: probe(host, startup), "it never started")
        assert probe(host, ready) is SUCCESS and probe(host, live) is SUCCESS
        # The main address answers only clients with a certificate and a token.
        assert run.ask() is grpc.StatusCode.OK
        assert run.ask(token="wrong") is grpc.StatusCode.UNAUTHENTICATED
        assert run.ask(own=False) is grpc.StatusCode.UNAVAILABLE
        assert probe(host, {"grpc": {"port": 50051}, "timeoutSeconds": 1}) is FAILURE
        # What anyone in the cluster can ask of the other ports: health, and metrics.
        with grpc.insecure_channel(f"{host}:50052") as admin:
            for path in (
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                "/gemwire.v1.EmbeddingService/Embed",
            ):
                method: Any = admin.stream_stream(path)
                with pytest.raises(grpc.RpcError) as caught:
                    list(method(iter([b""]), timeout=WAIT))
                assert isinstance(caught.value, grpc.Call)
                assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        # Work that the drain waits for.
        with run.channel() as channel:
            metadata = (("authorization", f"Bearer {run.token}"),)
            inputs = [text("word " * 1500)] * 60
            stub: Any = EmbeddingServiceStub(channel)
            call = stub.BatchEmbed.future(pb.BatchEmbedRequest(inputs=inputs), metadata=metadata)
            scrape_until(
                f"{host}:9464",
                lambda page: page.total("gemwire_calls_in_flight", method="BatchEmbed") == 1,
            )
            run.process.send_signal(signal.SIGTERM)
            until(lambda: not probe(host, ready), "it was ready to the end")
            assert probe(host, live) is SUCCESS
            assert len(call.result(WAIT).results) == 60
        assert run.process.wait(WAIT) == 0
        assert probe(host, {**live, "timeoutSeconds": 0.2}) is FAILURE
        # All that it wrote is in the two volumes, and what it compiled is kept.
        cache = tmp_path / "var" / "cache" / "gemwire"
        assert any(map(shutil.which, COMPILERS)) == bool(list(cache.rglob("*.so")))
        assert list((tmp_path / "tmp").iterdir()) == []
        assert sorted(path.name for path in tmp_path.iterdir()) == ["etc", "model", "tmp", "var"]


def test_liveness_waits_for_an_engine_and_then_no_longer(
    container: dict[str, Any], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    ready, live = container["readinessProbe"], container["livenessProbe"]
    with running(container, tiny_checkpoint, tmp_path, "--liveness-seconds=3") as run:
        until(lambda: probe(run.host, ready), "it never started")
        # A crash: another engine is started, and the container is not restarted.
        (engine,) = run.children("engine")
        os.kill(engine, signal.SIGKILL)
        until(lambda: not probe(run.host, ready), "nobody saw the crash")
        assert probe(run.host, live) is SUCCESS
        until(lambda: probe(run.host, ready), "no other engine came")
        # For good: what it would load is gone.
        run.checkpoint.unlink()
        (engine,) = run.children("engine")
        os.kill(engine, signal.SIGKILL)
        until(lambda: not probe(run.host, ready), "nobody saw the crash")
        assert probe(run.host, live) is SUCCESS
        until(lambda: not probe(run.host, live), "it waits for ever")
        # An engine after all.
        run.checkpoint.symlink_to(tiny_checkpoint)
        until(lambda: probe(run.host, ready), "it never came back")
        assert probe(run.host, live) is SUCCESS
        # Hung: no answer is a failure too.
        (front,) = run.children("front")
        os.kill(front, signal.SIGSTOP)
        assert probe(run.host, {**live, "timeoutSeconds": 1}) is FAILURE
        os.kill(front, signal.SIGCONT)
        until(lambda: probe(run.host, live), "it never answered again")


def test_secrets_are_replaced_as_kubelet_does_it(
    container: dict[str, Any], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with running(container, tiny_checkpoint, tmp_path) as run:
        until(lambda: probe(run.host, container["readinessProbe"]), "it never started")
        assert run.ask() is grpc.StatusCode.OK
        run.servers = Authority("another")
        assert run.ask() is grpc.StatusCode.UNAVAILABLE
        pair = run.servers.pair()
        run.tls.replace({"tls.crt": pair.cert, "tls.key": pair.key})
        assert run.ask() is grpc.StatusCode.OK
        old = run.token
        run.token, line = tokens.make("somebody")
        run.tokens.replace({"tokens": line.encode()})
        until(lambda: run.ask() is grpc.StatusCode.OK, "the new token is not read")
        assert run.ask(token=old) is grpc.StatusCode.UNAUTHENTICATED


def test_the_drain_fits_in_the_grace(pod: dict[str, Any], container: dict[str, Any]) -> None:
    given = [argument.removeprefix("--").partition("=") for argument in container["args"]]
    options = {name: value for name, _, value in given}
    stopping = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    longest = float(options["drain-seconds"]) + max(
        ENDING_SECONDS, ABANDON_SECONDS + SENDING_SECONDS
    )
    assert stopping + longest < pod["terminationGracePeriodSeconds"]
    # A crashed engine is replaced before the container would be.
    assert float(options["liveness-seconds"]) >= 60


def test_what_the_pod_may_do(pod: dict[str, Any], container: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    may = container["securityContext"]
    assert may["readOnlyRootFilesystem"] and not may["allowPrivilegeEscalation"]
    assert may["capabilities"] == {"drop": ["ALL"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == {
        volume["name"] for volume in pod["volumes"]
    }
    assert not any("subPath" in mount for mount in mounts.values())
    # Every file that is named, and every cache, is below a mount; the caches' can be written.
    for argument in container["args"]:
        if "=/" in argument:
            assert any(argument.partition("=")[2].startswith(f"{path}/") for path in mounts), (
                argument
            )
    for entry in container["env"]:
        if entry.get("value", "").startswith("/"):
            assert entry["value"].startswith("/var/cache/gemwire")
    assert not mounts["/var/cache/gemwire"].get("readOnly") and not mounts["/tmp"].get("readOnly")
    ports = {port["containerPort"] for port in container["ports"]}
    probes = [container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")]
    assert {one["grpc"]["port"] for one in probes} <= ports
