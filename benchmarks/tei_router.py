"""Starts Text Embeddings Inference's own server, where its binary is there."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

START_SECONDS = 300.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def binary() -> str | None:
    """TEI_ROUTER's, or the PATH's."""
    return os.environ.get("TEI_ROUTER") or shutil.which("text-embeddings-router")


@contextmanager
def serving(checkpoint: Path) -> Iterator[tuple[str, str]]:
    """text-embeddings-router built with gRPC, on a CPU in float32: its address, and "" for HTTP.

    Raises RuntimeError if it does not serve.
    """
    router = binary()
    assert router is not None, "the caller has looked for it"
    address = f"127.0.0.1:{free_port()}"
    command = [router, "--model-id", str(checkpoint), "--dtype", "float32"]
    command += ["--hostname", "127.0.0.1", "--port", address.rpartition(":")[2]]
    command += ["--prometheus-port", str(free_port())]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with grpc.insecure_channel(address) as channel:
            try:
                # It listens once it is warm.
                grpc.channel_ready_future(channel).result(timeout=START_SECONDS)
            except grpc.FutureTimeoutError:
                raise RuntimeError(
                    f"{router} did not serve gRPC: exit code {process.poll()}"
                ) from None
        yield address, ""
    finally:
        process.terminate()
        process.wait()
