"""A text among others that makes its step fail."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2

from faults.load import Stub, connected, embed
from faults.marked import Fault, marked
from faults.under_test import UnderTest
from gemwire.v1 import embedding_pb2 as pb

BATCH = 64
PATIENCE_SECONDS = 60.0


@dataclass
class Poisoned:
    """`answers` counts texts by their reason, "OK" for a vector; `culprit` is the reason of the poison;
    `steps` is how many steps the batch took."""

    answers: Counter[str]
    culprit: str
    steps: int


async def poison(server: UnderTest, fault: Fault, *, place: int = 37) -> Poisoned:
    """Sends a batch of 64 with the fault in one place, and a call that is answered afterwards.

    Where the fault ends the engine, the batch is refused with UNAVAILABLE and sent again.
    """
    before = len(server.controls.computed())
    async with connected(server.address) as stub:
        inputs = [marked(n, 8, fault if n == place else None) for n in range(BATCH)]
        answer = await _until_answered(stub, pb.BatchEmbedRequest(inputs=inputs))
        await embed(stub, marked, timeout=30)(BATCH)
    reasons = [_reason(result) for result in answer.results]
    computed = server.controls.computed()[before:]
    batch = computed[(computed["text"] >= 0) & (computed["text"] < BATCH)]
    return Poisoned(Counter(reasons), reasons[place], len(set(batch["began"].tolist())))


async def _until_answered(stub: Stub, request: pb.BatchEmbedRequest) -> pb.BatchEmbedResponse:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            answer: pb.BatchEmbedResponse = await stub.BatchEmbed(request, timeout=30)
            if not any(_reason(result) == "ENGINE_RESTARTING" for result in answer.results):
                return answer
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > until:
                raise
        await asyncio.sleep(0.1)


def _reason(result: pb.EmbedResult) -> str:
    if result.HasField("embedding"):
        return "OK"
    info = error_details_pb2.ErrorInfo()
    assert result.error.details[0].Unpack(info)
    return str(info.reason)
