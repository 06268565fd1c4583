"""embed_iter of both clients against a scripted server: order, credit, errors, servers that go away."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, closing
from typing import Any

import grpc
import numpy as np
import pytest

from gemwire_client import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    GemwireError,
    InvalidInput,
    Unavailable,
)
from gemwire_client.aio_stream import AsyncStream
from gemwire_client.foreign import from_rpc_error
from support.scripted import Scripted, status, vector

Embed = Callable[..., list[Any]]
WAIT = 20.0
# A port that another test's server had must not bring along that it was refused.
ALONE = (("grpc.use_local_subchannel_pool", 1),)


@pytest.fixture(params=["sync", "asyncio", "asyncio source"])
def embed(request: pytest.FixtureRequest, server: tuple[Scripted, str]) -> Embed:
    """embed(texts, take=n) collects all or the first n of `embed_iter`, and closes it."""

    def with_sync(texts: Iterable[str], take: int | None = None, **options: Any) -> list[Any]:
        with (
            Client(server[1], options=ALONE) as client,
            closing(client.embed_iter(texts, **options)) as answers,
        ):
            return list(itertools.islice(answers, take))

    def with_asyncio(texts: Iterable[str], take: int | None = None, **options: Any) -> list[Any]:
        async def source() -> Any:
            for text in texts:
                await asyncio.sleep(0)
                yield text

        async def main() -> list[Any]:
            taken: list[Any] = []
            given: Any = source() if request.param == "asyncio source" else texts
            async with (
                AsyncClient(server[1], options=ALONE) as client,
                aclosing(client.embed_iter(given, **options)) as answers,
            ):
                async for answer in answers:
                    taken.append(answer)
                    if len(taken) == take:
                        break
            return taken

        return asyncio.run(main())

    return with_sync if request.param == "sync" else with_asyncio


def texts(count: int) -> list[str]:
    return [f"text number {i}" for i in range(count)]


@pytest.mark.parametrize("count", [0, 1, 8, 64, 1000])
def test_answers_come_in_order_though_the_server_answers_backwards(
    embed: Embed, scripted: Scripted, count: int
) -> None:
    found = embed(texts(count))
    assert [answer.tolist() for answer in found] == [vector(text) for text in texts(count)]
    assert scripted.answered != sorted(scripted.answered) or count < 2
    assert scripted.streams == 1


def test_credit_is_never_exceeded_and_the_source_never_read_ahead_of_it(
    embed: Embed, scripted: Scripted
) -> None:
    scripted.credit = 5
    read = 0

    def source() -> Iterator[str]:
        nonlocal read
        for text in texts(100):
            read += 1
            assert read - len(scripted.answered) <= scripted.credit
            yield text

    assert len(embed(source())) == 100


def test_the_whole_credit_is_used(embed: Embed, scripted: Scripted) -> None:
    """All of it is sent before an answer comes, though it is several messages."""
    scripted.waits_for = 16
    assert len(embed(texts(100), timeout=5.0)) == 100


def test_an_endless_source_can_be_left(embed: Embed, scripted: Scripted) -> None:
    found = embed((f"endless {i}" for i in itertools.count()), take=100)
    assert [answer.tolist() for answer in found] == [vector(f"endless {i}") for i in range(100)]
    assert scripted.stream_ended.wait(WAIT), "the stream was left open"
    assert "gemwire-stream" not in {thread.name for thread in threading.enumerate()}


def test_a_bad_text_raises_or_comes_in_its_place(embed: Embed) -> None:
    mixed = [*texts(10), "bad", *texts(5)]
    with pytest.raises(InvalidInput) as caught:
        embed(mixed)
    assert caught.value.index == 10
    found = embed(mixed, on_error="return")
    assert [type(answer) for answer in found].count(np.ndarray) == 15
    assert isinstance(found[10], InvalidInput) and found[10].reason == "BAD_TEXT"


def test_what_a_leaving_server_did_not_answer_is_sent_to_the_next(
    embed: Embed, scripted: Scripted
) -> None:
    scripted.go_away_after.extend([16, 40])
    found = embed(texts(200))
    assert [answer.tolist() for answer in found] == [vector(text) for text in texts(200)]
    assert scripted.streams == 3
    assert sorted(scripted.answered) == list(range(200)), "computed once each"


def test_a_broken_stream_is_resumed(embed: Embed, scripted: Scripted) -> None:
    scripted.break_after.extend([0, 24])
    found = embed(texts(200))
    assert [answer.tolist() for answer in found] == [vector(text) for text in texts(200)]
    assert scripted.streams == 3


def test_patience_with_a_server_that_always_breaks_ends(
    embed: Embed, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.01)
    scripted.break_after.extend([0] * 100)
    with pytest.raises(Unavailable):
        embed(texts(20))
    assert scripted.streams == 5


def test_an_error_of_the_source_is_the_callers_own(embed: Embed, scripted: Scripted) -> None:
    def source() -> Iterator[str]:
        yield from texts(30)
        raise KeyError("the caller's own")

    with pytest.raises(KeyError):
        embed(source())
    assert scripted.stream_ended.wait(WAIT)


def test_a_silent_server_is_a_deadline(server: tuple[Scripted, str], scripted: Scripted) -> None:
    scripted.silent = True
    with Client(server[1], timeout=0.3) as client, pytest.raises(DeadlineExceeded):
        list(client.embed_iter(texts(3)))

    async def main() -> None:
        async with AsyncClient(server[1], timeout=0.3) as client:
            async for _ in client.embed_iter(texts(3)):
                pass

    with pytest.raises(DeadlineExceeded):
        asyncio.run(main())


@pytest.mark.parametrize(
    "failure",
    [
        status(grpc.StatusCode.UNAVAILABLE, "DRAINING", 0.01),
        status(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 0.01),
    ],
    ids=["draining", "no room"],
)
def test_a_text_refused_for_now_is_sent_again_and_no_other(
    embed: Embed, scripted: Scripted, failure: Any
) -> None:
    scripted.text_failures["text number 7"].append(failure)
    found = embed(texts(100))
    assert [answer.tolist() for answer in found] == [vector(text) for text in texts(100)]
    _, second = scripted.sent
    assert second[0] == 7
    assert sorted(scripted.answered) == sorted([*range(100), 7])


def test_a_stream_that_breaks_after_the_source_ended_is_resumed(
    embed: Embed, scripted: Scripted
) -> None:
    scripted.break_after.append(0)
    found = embed(texts(4))
    assert [answer.tolist() for answer in found] == [vector(text) for text in texts(4)]
    assert scripted.sent[1] == [0, 1, 2, 3] and scripted.streams == 2


def test_a_source_that_waits_for_answers_gets_them(
    server: tuple[Scripted, str], scripted: Scripted
) -> None:
    """A live feed: the next text comes only after the answer to the last."""
    scripted.credit = 2

    async def main() -> list[Any]:
        answered = asyncio.Semaphore(1)

        async def source() -> Any:
            for text in texts(5):
                await answered.acquire()
                yield text

        taken = []
        async with asyncio.timeout(WAIT), AsyncClient(server[1], options=ALONE) as client:
            async for answer in client.embed_iter(source()):
                taken.append(answer.tolist())
                answered.release()
        return taken

    assert asyncio.run(main()) == [vector(text) for text in texts(5)]


def test_a_slow_source_is_no_silent_server(
    server: tuple[Scripted, str], scripted: Scripted
) -> None:
    scripted.credit = 2

    async def source() -> Any:
        yield "first"
        await asyncio.sleep(0.4)
        yield "second"

    async def main() -> int:
        async with AsyncClient(server[1], timeout=0.2) as client:
            return len([answer async for answer in client.embed_iter(source())])

    assert asyncio.run(main()) == 2


def test_tokens_are_counted(embed: Embed) -> None:
    counts: list[int] = []
    embed(["a", "bad", "ccc"], on_error="return", on_tokens=counts.append)
    assert sorted(counts) == [1, 3]


def test_of_a_stream_that_ends_under_a_write_grpc_does_not_know_why() -> None:
    """It says INTERNAL, whatever the server said; that is no reason to give up."""

    class Ended:
        closed = False

        def stream(self) -> Any:
            return self

        def failure(self, error: grpc.RpcError) -> GemwireError:
            return from_rpc_error(error)

        async def read(self) -> Any:
            nothing = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, nothing, nothing, "Core")

        async def write(self, message: Any) -> None:
            await self.read()

        async def done_writing(self) -> None:
            await self.read()

        def cancel(self) -> None:
            pass

    async def main() -> Any:
        stream = AsyncStream(Ended(), asyncio.Event())  # type: ignore[arg-type]
        await stream.send(None)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await stream.close()
        return stream.error

    assert isinstance(asyncio.run(main()), Unavailable)


def test_a_text_over_the_message_limit_fails_alone(embed: Embed) -> None:
    found = embed(["a", "x" * 250_000, "b"], on_error="return")
    assert [type(answer) for answer in found] == [np.ndarray, InvalidInput, np.ndarray]
    assert found[1].reason == "TEXT_TOO_LONG" and found[1].index == 1


def test_vectors_of_two_revisions_are_never_mixed(embed: Embed, scripted: Scripted) -> None:
    scripted.break_after.append(24)
    scripted.revisions = ["first", "second"]
    with pytest.raises(GemwireError) as caught:
        embed(texts(100))
    assert caught.value.reason == "MODEL_CHANGED"
