"""Envoy's time limits: which of them a call meets, what its error says, and that it is not made in vain."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from faults.under_test import UnderTest, under_test
from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from gemwire_client import AsyncClient, Client, DeadlineExceeded, ProxyTimeout
from support.proxy.envoy_process import envoy, executable, shipped
from support.proxy.process import replaced
from support.proxy.workloads import TEXTS

NO_LIMIT = "timeout: 0s\n                            # The deadline"
DURATION = "max_stream_duration: {grpc_timeout_header_max: 0s}"
IDLE = "stream_idle_timeout: 0s"

Ask = Callable[[str, str], Any]


def limited(setting: str, value: str) -> str:
    """The shipped configuration with another time limit."""
    return replaced(shipped(), setting, value)


def route_limited(value: str) -> str:
    """With the time limit of a route, which counts only where calls' own deadlines do not."""
    return replaced(limited(NO_LIMIT, f"{value}\n#"), DURATION, "#")


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path) -> Iterator[UnderTest]:
    executable()
    with under_test(tiny_checkpoint, engine="thread") as started:
        yield started


@pytest.fixture(params=["sync", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """ask(address, method) calls it; of EmbedStream, a list of the vectors of TEXTS."""

    def with_sync(address: str, method: str) -> Any:
        with Client(address) as client:
            match method:
                case "Embed":
                    return client.embed("x")
                case "BatchEmbed":
                    return client.embed(["x", "y"])
                case "ComputeSimilarity":
                    return client.similarity("x", ["y"])
            return list(client.embed_iter(TEXTS))

    async def with_asyncio(address: str, method: str) -> Any:
        async with AsyncClient(address) as client:
            match method:
                case "Embed":
                    return await client.embed("x")
                case "BatchEmbed":
                    return await client.embed(["x", "y"])
                case "ComputeSimilarity":
                    return await client.similarity("x", ["y"])
            return [vector async for vector in client.embed_iter(TEXTS)]

    if request.param == "sync":
        return with_sync
    return lambda address, method: asyncio.run(with_asyncio(address, method))


def started(server: UnderTest, method: str) -> float:
    """Calls of the method that the server has seen."""
    return server.metrics().sum("gemwire_calls_started_total", method=method)


def direct(server: UnderTest) -> Any:
    with Client(server.address) as client:
        return client.embed(TEXTS)


@pytest.mark.parametrize("method", ["Embed", "BatchEmbed", "ComputeSimilarity"])
def test_a_routes_limit_is_named_and_met_once(
    server: UnderTest, tmp_path: Path, ask: Ask, method: str
) -> None:
    before = started(server, method)
    with envoy(tmp_path, route_limited("timeout: 0.5s"), [server.address]) as address:
        with server.controls.held(), pytest.raises(ProxyTimeout, match="route `timeout`"):
            ask(address, method)
    assert started(server, method) - before == 1


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        (IDLE, "stream_idle_timeout: 0.5s", "stream_idle_timeout"),
        (DURATION, "max_stream_duration: {max_stream_duration: 0.5s}", "max_stream_duration"),
        (DURATION, "max_stream_duration: {grpc_timeout_header_max: 0.5s}", "header_max"),
    ],
)
def test_other_limits_are_named(
    server: UnderTest, tmp_path: Path, ask: Ask, setting: str, value: str, named: str
) -> None:
    with envoy(tmp_path, limited(setting, value), [server.address]) as address:
        with server.controls.held(), pytest.raises(ProxyTimeout, match=named):
            ask(address, "Embed")


def test_a_routes_limit_does_not_cut_a_stream(server: UnderTest, tmp_path: Path, ask: Ask) -> None:
    """The limit counts from the half-close, which both clients delay until they have their answers."""
    wanted = direct(server)
    before = started(server, "EmbedStream")
    with envoy(tmp_path, route_limited("timeout: 0.5s"), [server.address]) as address:
        server.controls.stall(2.0)
        np.testing.assert_array_equal(ask(address, "EmbedStream"), wanted)
    assert started(server, "EmbedStream") - before == 1


def test_a_stream_that_is_cut_again_and_again_without_an_answer(
    server: UnderTest, tmp_path: Path, ask: Ask
) -> None:
    before = started(server, "EmbedStream")
    value = "max_stream_duration: {max_stream_duration: 0.7s}"
    with envoy(tmp_path, limited(DURATION, value), [server.address]) as address:
        with server.controls.held(), pytest.raises(ProxyTimeout, match=r"cut after 0\.\d s"):
            ask(address, "EmbedStream")
    assert started(server, "EmbedStream") - before == 2


def test_a_stream_that_is_cut_but_gets_on_is_resumed(
    server: UnderTest, tmp_path: Path, ask: Ask
) -> None:
    wanted = direct(server)
    before = started(server, "EmbedStream")
    value = "max_stream_duration: {max_stream_duration: 1.5s}"
    with envoy(tmp_path, limited(DURATION, value), [server.address]) as address:
        server.controls.set(step_seconds=0.45)
        try:
            np.testing.assert_array_equal(ask(address, "EmbedStream"), wanted)
        finally:
            server.controls.set(step_seconds=0.0)
    assert started(server, "EmbedStream") - before > 1


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_stream_that_is_cut_while_its_source_is_slow_is_opened_again(
    server: UnderTest, tmp_path: Path, kind: str
) -> None:
    wanted = direct(server)[:3]
    before = started(server, "EmbedStream")

    def slow() -> Iterator[str]:
        for text in TEXTS[:3]:
            yield text
            time.sleep(1.0)

    async def slow_async() -> AsyncIterator[str]:
        for text in TEXTS[:3]:
            yield text
            await asyncio.sleep(1.0)

    async def streamed(address: str) -> list[Any]:
        async with AsyncClient(address) as client:
            return [vector async for vector in client.embed_iter(slow_async())]

    config = limited(IDLE, "stream_idle_timeout: 0.5s")
    with envoy(tmp_path, config, [server.address]) as address:
        if kind == "sync":
            with Client(address) as client:
                found = list(client.embed_iter(slow()))
        else:
            found = asyncio.run(streamed(address))
    np.testing.assert_array_equal(found, wanted)
    assert started(server, "EmbedStream") - before > 1


def test_the_callers_own_deadline_is_no_proxys(server: UnderTest, tmp_path: Path) -> None:
    with envoy(tmp_path, shipped(), [server.address]) as address:
        with Client(address, timeout=0.7) as client, server.controls.held():
            with pytest.raises(DeadlineExceeded) as caught:
                client.embed("x")
    assert not isinstance(caught.value, ProxyTimeout)


def test_as_shipped_nothing_is_cut_after_the_15_seconds_that_are_the_default(
    server: UnderTest, tmp_path: Path
) -> None:
    """Calls by stubs alone, which half-close at once."""

    def unary(address: str) -> pb.EmbedResponse:
        with grpc.insecure_channel(address) as channel:
            request = pb.EmbedRequest(input=pb.EmbedInput(text="x"))
            return EmbeddingServiceStub(channel).Embed(request, timeout=60.0)

    def stream(address: str) -> list[pb.EmbedStreamResponse]:
        batch = pb.StreamBatch(inputs=[pb.EmbedInput(text="x")])
        messages = [
            pb.EmbedStreamRequest(open=pb.StreamOpen()),
            pb.EmbedStreamRequest(batch=batch),
        ]
        with grpc.insecure_channel(address) as channel:
            return list(EmbeddingServiceStub(channel).EmbedStream(iter(messages), timeout=60.0))

    def cut(address: str) -> float:
        began = time.monotonic()
        with Client(address) as client, pytest.raises(ProxyTimeout):
            client.embed("x")
        return time.monotonic() - began

    (tmp_path / "default").mkdir()
    by_default = route_limited("#")
    with (
        envoy(tmp_path, shipped(), [server.address]) as address,
        envoy(tmp_path / "default", by_default, [server.address]) as default_address,
        ThreadPoolExecutor(3) as pool,
    ):
        server.controls.stall(16.0)
        answer, messages = pool.submit(unary, address), pool.submit(stream, address)
        assert 14.0 < pool.submit(cut, default_address).result() < 16.0
        assert len(answer.result().embedding.values) == 96
        kinds = [message.WhichOneof("payload") for message in messages.result()]
        assert kinds == ["opened", "results"]
