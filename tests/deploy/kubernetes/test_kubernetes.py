"""deploy/kubernetes/gemwire.yaml without a cluster: its arguments, and its probes as kubelet makes them."""

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from gemwire_kernels.cpu.build import COMPILERS
from gemwire_server.fronts.grpc.server import SENDING_SECONDS
from gemwire_server.processes.supervisor import ENDING_SECONDS
from gemwire_server.security import tokens
from gemwire_server.service.service import ABANDON_SECONDS
from support.certificates import Authority
from support.harness import text
from support.pod import FAILURE, SUCCESS, WAIT, probe, running
from support.scrape import scrape_until
from uninstalled import ROOT

MANIFEST = ROOT / "deploy" / "kubernetes" / "gemwire.yaml"


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
        # Work that the drain waits for: its engine stands still until all has been asked.
        (engine,) = run.children("engine")
        with run.channel() as channel:
            metadata = (("authorization", f"Bearer {run.token}"),)
            stub: Any = EmbeddingServiceStub(channel)
            os.kill(engine, signal.SIGSTOP)
            try:
                request = pb.BatchEmbedRequest(inputs=[text("accepted")] * 60)
                call = stub.BatchEmbed.future(request, metadata=metadata)
                scrape_until(
                    f"{host}:9464",
                    lambda page: page.total("gemwire_calls_in_flight", method="BatchEmbed") == 1,
                )
                run.process.send_signal(signal.SIGTERM)
                until(lambda: not probe(host, ready), "it was ready to the end")
                assert probe(host, live) is SUCCESS
            finally:
                os.kill(engine, signal.SIGCONT)
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
