"""The server `web` of clients/conformance, and that it is absent where there is no Envoy."""

import asyncio
from pathlib import Path

import pytest

from faults.under_test import under_test
from gemwire.v1 import embedding_pb2 as pb
from gemwire_conformance import web
from support.proxy import envoy_process
from support.web_calls import connect, grpc_web

REQUEST = pb.EmbedRequest(input=pb.EmbedInput(text="Mars")).SerializeToString()


def test_it_speaks_grpc_web_and_connect(tiny_checkpoint: Path, tmp_path: Path) -> None:
    envoy_process.executable()

    async def call(behind: str) -> None:
        made = web.Web(tmp_path)
        try:
            await made.start(behind)
            address = made.servers["web"]["address"]
            (message,) = (await asyncio.to_thread(grpc_web, address, "Embed", REQUEST)).messages
            answer = await asyncio.to_thread(connect, address, "Embed", REQUEST)
            assert answer.body == message and len(message) > 300
        finally:
            await made.stop()

    with under_test(tiny_checkpoint, engine="thread") as server:
        asyncio.run(call(server.address))


def test_without_envoy_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    made = web.Web(tmp_path)
    asyncio.run(made.start("127.0.0.1:1"))
    asyncio.run(made.stop())
    assert made.servers == {}
