"""SIGTERM under load."""

import asyncio
import contextlib
import time
from dataclasses import dataclass

import grpc

from faults.health import NOT_SERVING, watched
from faults.load import Outcome, Outcomes, Stub, connected, embed, one, open_loop, poisson, stream
from faults.marked import marked
from faults.under_test import UnderTest

BURST, STREAMS = 200_000, 300_000
"""Where their numbers begin."""
A_STREAM = 50_000
UNARY_TOKENS, STREAM_TOKENS = 64, 16


@dataclass
class Drained:
    """`lost`: texts that the server had accepted or computed, and whose caller got no answer.
    `not_serving_after` and `exit_after` are seconds from the signal."""

    unary: Outcomes
    streams: Outcomes
    in_flight: int
    lost: set[int]
    not_serving_after: float
    exit_after: float
    exit_code: int


async def drain(
    server: UnderTest, *, rate: float, burst: int, streams: int, seconds: float, pause: float = 0.04
) -> Drained:
    """Sends calls at a rate beside streams that send 4 texts and pause, for `seconds`. Then sends a burst
    of calls, and SIGTERM while they wait."""
    streamed = Outcomes()
    async with (
        connected(server.address) as stub,
        watched(server.address) as health,
        contextlib.AsyncExitStack() as stack,
    ):
        call = embed(stub, lambda number: marked(number, UNARY_TOKENS))
        until_exit = asyncio.create_task(
            open_loop(call, poisson(rate, seconds + 3, seed=0), start=time.monotonic())
        )
        working = [
            asyncio.create_task(
                _stream(
                    await stack.enter_async_context(connected(server.address)), n, pause, streamed
                )
            )
            for n in range(streams)
        ]
        await asyncio.sleep(seconds)
        tasks = [
            asyncio.create_task(one(call, Outcome(BURST + n, time.monotonic())))
            for n in range(burst)
        ]
        await asyncio.sleep(0.1)
        signalled = time.monotonic()
        open_then = sum(not task.done() for task in tasks)
        server.terminate()
        not_serving = await health.wait_for(NOT_SERVING, after=signalled)
        exit_code = await asyncio.to_thread(server.process.wait, 60)
        exited = time.monotonic()
        unary = Outcomes([*await asyncio.gather(*tasks), *(await until_exit).all])
        await asyncio.gather(*working)
    computed = set(server.controls.computed_texts().tolist())
    refused = {
        one.number
        for one in (*unary.all, *streamed.all)
        if one.code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
        # What gRPC says of a call that arrives in the moment the server stops (grpc#41785).
        or (one.code == "CANCELLED" and one.sent > signalled)
    }
    answered = {one.number for one in (*unary.all, *streamed.all) if one.code == "OK"}
    asked = unary.numbers() | streamed.numbers()
    return Drained(
        unary,
        streamed,
        open_then,
        lost=(asked - answered - refused) | ((computed & asked) - answered),
        not_serving_after=not_serving - signalled,
        exit_after=exited - signalled,
        exit_code=exit_code,
    )


async def _stream(stub: Stub, number: int, pause: float, outcomes: Outcomes) -> None:
    first = STREAMS + number * A_STREAM
    numbered = ((n, marked(n, STREAM_TOKENS)) for n in range(first, first + A_STREAM))
    with contextlib.suppress(grpc.aio.AioRpcError):  # `outcomes` says what it left unanswered
        await stream(stub, numbered, message=4, window=8, pause=pause, outcomes=outcomes)
