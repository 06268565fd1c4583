"""The variables GEMWIRE_* are the server's alone: they change nothing in a client, which reads none."""

import json
import subprocess
import sys
from dataclasses import fields

from gemwire_server.config.options import ServerConfig
from gemwire_server.config.sources import CONFIG_VARIABLE, variable
from support.calling import gemwire
from support.scripted import scripted_server, vector
from uninstalled import environment

# Values that would be noticed, also of variables that no program of gemwire's knows.
VARIABLES = {
    **{variable(option.name): "/nowhere" for option in fields(ServerConfig)},
    CONFIG_VARIABLE: "/nowhere",
    "GEMWIRE_ADDRESS": "192.0.2.1:1",
    "GEMWIRE_TOKEN": "secret",
    "GEMWIRE_TIMEOUT": "0",
}
PROGRAM = """
import json, os, sys

asked, kind = set(), type(os.environ)
read = kind.__getitem__
def record(self, key):
    asked.add(key)
    return read(self, key)
kind.__getitem__ = record
os.environ.get("GEMWIRE_PROBE")  # that the record works

import asyncio
from gemwire_client import AsyncClient, Client
from gemwire_bench.target import Target

with Client(sys.argv[1]) as client:
    vectors = [client.embed("Mars").tolist(), client.embed(["Venus"])[0].tolist()]
    vectors += [vector.tolist() for vector in client.embed_iter(["Pluto"])]

async def main():
    async with AsyncClient(sys.argv[1]) as client:
        vectors.append((await client.embed("Ceres")).tolist())

asyncio.run(main())
Target(sys.argv[1]).channel(asynchronous=False).close()
print(json.dumps({"vectors": vectors, "asked": sorted(asked)}))
"""


def test_a_client_reads_none_of_them() -> None:
    with scripted_server() as (scripted, address):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, address],
            env=environment(VARIABLES),
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["vectors"] == [vector(text) for text in ("Mars", "Venus", "Pluto", "Ceres")]
    assert [key for key in found["asked"] if key.startswith("GEMWIRE_")] == ["GEMWIRE_PROBE"]
    assert all("authorization" not in metadata for metadata in scripted.metadata)


def test_a_command_that_calls_a_server_obeys_none_of_them() -> None:
    with scripted_server() as (_, address):
        asked = ("embed", "-", "-o", "-", "--server", address)
        done = gemwire(*asked, input="Mars\n", environ=VARIABLES)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["embedding"] == vector("Mars")
