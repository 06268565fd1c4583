"""Load on a server: calls at set times or one after the other, and what became of each.

A call's latency counts from when it was to be sent: a client that is late must not make a server look
fast. Times are of `time.monotonic`.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import grpc
import numpy as np
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub

if TYPE_CHECKING:
    from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceAsyncStub

Stub: TypeAlias = "EmbeddingServiceAsyncStub"
LOCAL = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
"""A connection of its own for each channel."""
Call = Callable[[int], Awaitable[object]]


@dataclass(slots=True)
class Outcome:
    """One call, or one text of a stream. `reason` is ErrorInfo's; `ended` is 0 while it has none."""

    number: int
    intended: float
    sent: float = 0.0
    ended: float = 0.0
    code: str = "PENDING"
    reason: str = ""
    retry_after: float | None = None

    @property
    def latency(self) -> float:
        return self.ended - self.intended


@dataclass
class Outcomes:
    """The outcomes of many calls, in no order."""

    all: list[Outcome] = field(default_factory=list)

    def of(self, *codes: str) -> "Outcomes":
        return Outcomes([one for one in self.all if one.code in codes])

    def where(self, keep: Callable[[Outcome], bool]) -> "Outcomes":
        return Outcomes([one for one in self.all if keep(one)])

    def between(self, began: float, ended: float) -> "Outcomes":
        """The calls that were to be sent in this time."""
        return self.where(lambda one: began <= one.intended < ended)

    def codes(self) -> Counter[str]:
        """How many calls ended with each code; a refusal counts with its reason."""
        return Counter(f"{one.code} {one.reason}".strip() for one in self.all)

    def latencies(self) -> NDArray[np.float64]:
        return np.array([one.latency for one in self.all])

    def percentile(self, rank: float) -> float:
        """A percentile of the latencies in seconds, 0 if there are none."""
        return float(np.percentile(self.latencies(), rank)) if self.all else 0.0

    def numbers(self) -> set[int]:
        return {one.number for one in self.all}

    def __len__(self) -> int:
        return len(self.all)


def poisson(rate: float, seconds: float, seed: int) -> NDArray[np.float64]:
    """Arrival times of `rate` calls a second, in seconds from 0, made beforehand."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds * 1.5) + 50)
    times = np.cumsum(gaps)
    return times[times < seconds]


@asynccontextmanager
async def connected(address: str, *options: tuple[str, object]) -> AsyncIterator[Stub]:
    """Yields a stub on a connection of its own."""
    async with grpc.aio.insecure_channel(address, options=[*LOCAL, *options]) as channel:
        yield EmbeddingServiceStub(channel)


async def one(call: Call, outcome: Outcome) -> Outcome:
    """Makes the call and notes its outcome."""
    outcome.sent = time.monotonic()
    try:
        await call(outcome.number)
    except grpc.aio.AioRpcError as error:
        outcome.ended = time.monotonic()
        note(outcome, error.code(), dict(error.trailing_metadata() or ()))
    except asyncio.CancelledError:
        outcome.ended = time.monotonic()
        outcome.code = "CANCELLED"
    else:
        outcome.ended = time.monotonic()
        outcome.code = "OK"
    return outcome


def note(outcome: Outcome, code: grpc.StatusCode, trailers: dict[str, object]) -> None:
    outcome.code = code.name
    details = trailers.get("grpc-status-details-bin")
    if isinstance(details, bytes):
        note_status(outcome, Status.FromString(details))


def note_status(outcome: Outcome, status: Status) -> None:
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            outcome.reason = info.reason
        elif detail.Unpack(retry):
            outcome.retry_after = retry.retry_delay.ToTimedelta().total_seconds()


async def open_loop(
    call: Call, times: Iterable[float], *, first: int = 0, start: float | None = None
) -> Outcomes:
    """Calls at the given times, whether or not earlier calls have ended. Numbers them from `first`."""
    start = time.monotonic() if start is None else start
    tasks = []
    for number, at in enumerate(times, first):
        await asyncio.sleep(max(0.0, start + at - time.monotonic()))
        tasks.append(asyncio.create_task(one(call, Outcome(number, start + at))))
    return Outcomes(list(await asyncio.gather(*tasks)))


async def closed_loop(
    call: Call,
    callers: int,
    *,
    calls: int = 0,
    seconds: float = np.inf,
    first: int = 0,
    pause: float = 0.0,
    outcomes: Outcomes | None = None,
) -> Outcomes:
    """Callers that call one after the other, so many calls in all or so long, with a pause after a call
    that failed."""
    outcomes, until = Outcomes() if outcomes is None else outcomes, time.monotonic() + seconds
    numbers = iter(range(first, first + calls)) if calls else itertools.count(first)

    async def caller() -> None:
        for number in numbers:
            now = time.monotonic()
            if now >= until:
                return
            outcome = await one(call, Outcome(number, now))
            outcomes.all.append(outcome)
            if outcome.code != "OK":
                await asyncio.sleep(pause)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return outcomes


async def stream(
    stub: Stub,
    inputs: Iterable[tuple[int, pb.EmbedInput]],
    *,
    message: int = 16,
    window: int = 64,
    pause: float = 0.0,
    outcomes: Outcomes | None = None,
) -> Outcomes:
    """Sends the texts, numbered one after the other, in messages of several, a window of them unanswered
    at once, until there are no more or the server says go away. `pause` is seconds between messages.
    Raises what the stream ends in, once `outcomes` says it."""
    outcomes = Outcomes() if outcomes is None else outcomes
    unanswered: dict[int, Outcome] = {}
    call = stub.EmbedStream()
    room = asyncio.Event()
    gone = False

    async def send() -> None:
        source = iter(inputs)
        while part := list(itertools.islice(source, message)):
            while len(unanswered) + len(part) > window and not gone:
                room.clear()
                await room.wait()
            if gone:
                break
            now = time.monotonic()
            for number, _ in part:
                unanswered[number] = Outcome(number, now, now)
                outcomes.all.append(unanswered[number])
            batch = pb.StreamBatch(first_id=part[0][0], inputs=[text for _, text in part])
            await call.write(pb.EmbedStreamRequest(batch=batch))
            await asyncio.sleep(pause)
        await call.done_writing()

    await call.write(pb.EmbedStreamRequest(open=pb.StreamOpen()))
    sending = asyncio.create_task(send())
    try:
        async for answer in call:
            if answer.HasField("go_away"):
                gone = True
            for result in answer.results.results:
                outcome = unanswered.pop(result.id)
                outcome.ended = time.monotonic()
                if result.HasField("embedding"):
                    outcome.code = "OK"
                else:
                    code = next(c for c in grpc.StatusCode if c.value[0] == result.error.code)
                    outcome.code = code.name
                    note_status(outcome, result.error)
            room.set()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        for outcome in unanswered.values():
            outcome.ended, outcome.code = time.monotonic(), "LOST"
    return outcomes


def embed(
    stub: Stub,
    make: Callable[[int], pb.EmbedInput],
    timeout: float | None = None,
) -> Call:
    """A call of Embed with one text."""

    def call(number: int) -> Awaitable[object]:
        return stub.Embed(pb.EmbedRequest(input=make(number)), timeout=timeout)

    return call


def jain(shares: Sequence[float]) -> float:
    """Jain's fairness index: 1 for equal shares, 1/n where one share is everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
