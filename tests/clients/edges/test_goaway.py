"""A client that ends its connection with an error code, as Node.js does, leaves no line in the log."""

import subprocess
from pathlib import Path

from h2.errors import ErrorCodes

from gemwire_client import Client
from support.calling import command
from support.raw_http2 import RawClient
from uninstalled import environment


def test_only_the_log_is_on_stderr(tiny_checkpoint: Path) -> None:
    flags = ["--address", "127.0.0.1:0", "--engine", "thread", "--log-level", "error"]
    server = subprocess.Popen(
        command("serve", "--model", str(tiny_checkpoint), *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert server.stdout is not None
    try:
        address = server.stdout.readline().split()[-1]
        with RawClient(address) as client:
            client.h2.close_connection(error_code=ErrorCodes.CANCEL)
            client.flush()
        with Client(address, timeout=60) as other:
            assert other.embed_query("Mars").any()
    finally:
        server.terminate()
        _, said = server.communicate(timeout=60)
    assert said == ""
