"""The scripted server tells a client that keeps to the script from one that does not."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1 import embedding_pb2_grpc as stubs
from gemwire_conformance import messages
from gemwire_conformance.cases import Case
from gemwire_conformance.scripted import Scripted

BUSY = {"code": "UNAVAILABLE", "reason": "DRAINING", "retry_delay": 0.1}
ANSWER = {"embedding": {"values": [1]}}
STREAM = [{"open": {}}, {"opened": {"maxInflightInputs": 2}}]
Script = list[dict[str, Any]]
Play = Callable[["Caller"], Awaitable[None]]


class Caller:
    """The generated stubs, with the token of a case."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._embedding: Any = stubs.EmbeddingServiceStub(channel)
        self._models: Any = stubs.ModelServiceStub(channel)
        self._token = token

    def _metadata(self, prefix: str = "") -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {prefix}{self._token}")]

    async def embed(self, text: str = "a") -> pb.EmbedResponse | grpc.StatusCode:
        request = pb.EmbedRequest(input=pb.EmbedInput(text=text))
        try:
            answer = await self._embedding.Embed(request, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            return error.code()
        assert isinstance(answer, pb.EmbedResponse)
        return answer

    def stream(self) -> Any:
        return self._embedding.EmbedStream(metadata=self._metadata())

    async def verdict(self) -> str:
        """What was not in the script."""
        metadata = self._metadata("verdict.")
        try:
            await self._models.GetModel(pb.GetModelRequest(), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error.details() or ""
        return ""


async def play(script: Script, client: Play) -> str:
    """The verdict on a client that meets the script."""
    cases: dict[str, Case] = {"case": {"name": "case", "script": script}}
    server = Scripted(cases)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(server.address) as channel:
            caller = Caller(channel, "case.1")
            with suppress(grpc.aio.AioRpcError):  # a stream that leaves the script is ended
                await client(caller)
            return await caller.verdict()
    finally:
        await server.stop()


def batch(first: int, count: int) -> pb.EmbedStreamRequest:
    inputs = [pb.EmbedInput(text="a")] * count
    return pb.EmbedStreamRequest(batch=pb.StreamBatch(first_id=first, inputs=inputs))


async def opened(caller: Caller) -> Any:
    call = caller.stream()
    await call.write(pb.EmbedStreamRequest(open=pb.StreamOpen()))
    await call.read()
    return call


async def calls_twice(caller: Caller) -> None:
    assert await caller.embed() == grpc.StatusCode.UNAVAILABLE
    await asyncio.sleep(0.25)
    assert isinstance(await caller.embed(), pb.EmbedResponse)


async def calls_once(caller: Caller) -> None:
    await caller.embed()


async def calls_three_times(caller: Caller) -> None:
    await calls_twice(caller)
    assert await caller.embed() == grpc.StatusCode.FAILED_PRECONDITION


async def calls_too_early(caller: Caller) -> None:
    await caller.embed()
    await caller.embed()


async def asks_for_something_else(caller: Caller) -> None:
    await caller.embed("b")


async def serves_itself(caller: Caller) -> None:
    call = await opened(caller)
    await call.write(batch(0, 2))
    await call.read()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def sends_over_the_credit(caller: Caller) -> None:
    call = await opened(caller)
    await call.write(batch(0, 3))
    await call.read()


async def half_closes_too_early(caller: Caller) -> None:
    call = await opened(caller)
    await call.done_writing()
    await call.read()


async def cancels(caller: Caller) -> None:
    call = await opened(caller)
    await call.write(batch(0, 1))
    call.cancel()


async def sends_other_ids(caller: Caller) -> None:
    call = await opened(caller)
    await call.write(batch(1, 2))
    await call.read()


TWO: Script = [
    {"method": "Embed", "request": {"input": {"text": "a"}}, "status": BUSY},
    {"method": "Embed", "after": 0.2, "response": ANSWER},
]
SERVED: Script = [
    {
        "method": "EmbedStream",
        "stream": [*STREAM, {"texts": 2}, {"answer": [0, 1]}, {"half_close": True}, {"status": {}}],
    }
]


@pytest.mark.parametrize(
    ("script", "client", "verdict"),
    [
        (TWO, calls_twice, ""),
        (TWO, calls_three_times, "one more call"),
        (TWO, calls_too_early, "after the last call"),
        (TWO, asks_for_something_else, "not what is due"),
        (SERVED, serves_itself, ""),
        (SERVED, sends_over_the_credit, "over the credit"),
        (SERVED, half_closes_too_early, "where texts are due"),
        (SERVED, cancels, "cancelled at step|where texts are due"),
        (SERVED, sends_other_ids, "texts .1, 2. where .0, 1. are due"),
    ],
)
def test_the_verdict(script: Script, client: Play, verdict: str) -> None:
    said = asyncio.run(play(script, client))
    assert re.search(verdict, said) and bool(verdict) == bool(said)


def test_a_call_that_does_not_come_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemwire_conformance.script.PATIENCE_SECONDS", 0.3)
    assert "did not come" in asyncio.run(play(TWO, calls_once))


def test_steps_of_any_order_take_the_request_that_is_theirs() -> None:
    script = [
        {
            "method": "Embed",
            "any_order": True,
            "request": {"input": {"text": text}},
            "response": ANSWER,
        }
        for text in "abc"
    ]

    async def asks_backwards(caller: Caller) -> None:
        for text in "cab":
            assert isinstance(await caller.embed(text), pb.EmbedResponse)

    assert asyncio.run(play(script, asks_backwards)) == ""


def test_a_cut_connection_is_seen_and_another_one_works() -> None:
    script: Script = [{"method": "Embed", "cut": True}, {"method": "Embed", "response": ANSWER}]

    async def comes_back(caller: Caller) -> None:
        assert await caller.embed() == grpc.StatusCode.UNAVAILABLE
        assert isinstance(await caller.embed(), pb.EmbedResponse)

    assert asyncio.run(play(script, comes_back)) == ""


def test_a_default_may_be_sent_or_left_out() -> None:
    said = {"input": {"text": "a"}, "options": {"task": "TASK_TYPE_CLUSTERING"}}
    request = pb.EmbedRequest(input=pb.EmbedInput(text="a"))
    request.options.task = pb.TASK_TYPE_CLUSTERING
    assert messages.same(request, said)
    request.options.normalize = True
    request.options.encoding = pb.VECTOR_ENCODING_FLOAT32
    assert messages.same(request, said)
    request.options.normalize = False
    assert not messages.same(request, said)
