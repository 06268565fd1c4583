"""Both Python clients against every case of clients/conformance."""

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from typing import Any

import pytest

from gemwire_client import AsyncClient, Client, GemwireError
from gemwire_conformance.cases import Case, load
from support import conformance
from support.conformance import Source, text, texts

CASES = list(load().values())
EACH = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])


@pytest.fixture(scope="module")
def named() -> Iterator[dict[str, Any]]:
    with conformance.servers() as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def threads_before() -> set[threading.Thread]:
    """The threads of other tests, which may run on."""
    return set(threading.enumerate())


@EACH
def test_the_client_for_threads(case: Case, named: dict[str, Any]) -> None:
    arguments, verdict = conformance.settings(case, named)
    with Client(**arguments) as client:
        if case["call"]["method"] == "embed_stream":
            run_stream(client, case, named)
        else:
            many = case["call"].get("calls", 1)
            with ThreadPoolExecutor(many) as pool:
                for done in [pool.submit(run_call, client, case, named) for _ in range(many)]:
                    done.result()
        if verdict:
            ask(arguments, verdict)


@EACH
def test_the_client_for_asyncio(case: Case, named: dict[str, Any]) -> None:
    arguments, verdict = conformance.settings(case, named)
    asyncio.run(run_async(case, named, arguments))
    if verdict:
        ask(arguments, verdict)


def test_nothing_is_left_open(named: dict[str, Any], threads_before: set[threading.Thread]) -> None:
    """No connection, and no thread but grpc.aio's one, stays when the clients are closed."""
    case: Case = {"name": "connections"}
    arguments, _ = conformance.settings(case, named)
    # gRPC keeps a connection while one of its calls exists. An event loop that has ended leaves reference
    # cycles, and in a long run of tests Python looks for those rarely.
    gc.collect()
    ask(arguments, "verdict.connections")
    until = time.monotonic() + 10
    while extra := [
        thread.name
        for thread in set(threading.enumerate()) - threads_before
        if "_poll_wrapper" not in thread.name
    ]:
        assert time.monotonic() < until, extra
        time.sleep(0.05)


def ask(arguments: dict[str, Any], verdict: str) -> None:
    with Client(**arguments | {"token": verdict, "timeout": 30}) as client:
        client.model()


def run_call(client: Client, case: Case, named: dict[str, Any]) -> None:
    expect = case["expect"]
    if "error" in expect:
        with pytest.raises(GemwireError) as raised:
            call(client, case["call"])
        conformance.check_error(raised.value, expect["error"])
    else:
        result = call(client, case["call"])
        conformance.check_result(result, case, named["reference"])


def run_stream(client: Client, case: Case, named: dict[str, Any]) -> None:
    said = case["call"]
    ordered = said.get("ordered", True)
    source = Source(said["texts"])
    answers: list[tuple[int, Any]] = []
    failure = None
    options = said.get("options", {})
    if ordered:
        values = client.embed_iter(source, on_error="return", **options)
        stream: Any = enumerate(values)
    else:
        stream = values = client.embed_as_completed(source, **options)  # type: ignore[assignment]
    try:
        with closing(values):
            for index, answer in stream:
                source.handed_out += 1
                answers.append((index, answer))
                if len(answers) == said.get("stop_after"):
                    break
    except GemwireError as error:
        failure = error
    check_stream(answers, failure, source, case, named)


async def run_async(case: Case, named: dict[str, Any], arguments: dict[str, Any]) -> None:
    said, expect = case["call"], case["expect"]
    async with AsyncClient(**arguments) as client:
        if said["method"] == "embed_stream":
            await run_async_stream(client, case, named)
            return
        calls = [call(client, said) for _ in range(said.get("calls", 1))]
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if "error" in expect:
                assert isinstance(result, GemwireError), result
                conformance.check_error(result, expect["error"])
            else:
                assert not isinstance(result, BaseException), result
                conformance.check_result(result, case, named["reference"])


async def run_async_stream(client: AsyncClient, case: Case, named: dict[str, Any]) -> None:
    said = case["call"]
    source = Source(said["texts"])
    answers: list[tuple[int, Any]] = []
    failure = None
    options = said.get("options", {})
    ordered = said.get("ordered", True)
    stream: Any = (
        client.embed_iter(source, on_error="return", **options)
        if ordered
        else client.embed_as_completed(source, **options)
    )
    try:
        async with aclosing(stream):
            async for answer in stream:
                source.handed_out += 1
                answers.append((len(answers), answer) if ordered else answer)
                if len(answers) == said.get("stop_after"):
                    break
    except GemwireError as error:
        failure = error
    check_stream(answers, failure, source, case, named)


def check_stream(
    answers: list[tuple[int, Any]],
    failure: GemwireError | None,
    source: Source,
    case: Case,
    named: dict[str, Any],
) -> None:
    expect = case["expect"]
    if "error" in expect:
        assert failure is not None
        conformance.check_error(failure, expect["error"])
    elif failure is not None:
        raise failure
    if "reference" in expect:
        expected = named["reference"][expect["reference"]]
        assert [answer.tolist() for _, answer in answers] == expected
    conformance.check_answers(answers, expect, case["call"].get("ordered", True))
    assert source.ahead <= expect.get("read_ahead", source.ahead)


def call(client: Any, said: dict[str, Any]) -> Any:
    """The client's method for a case: a result, or an awaitable of the asyncio client."""
    given = {key: said[key] for key in ("dimensions", "task", "target_task") if key in said}
    options = said.get("options", {})
    match said["method"]:
        case "embed_query":
            return client.embed_query(text(said["text"]), **given)
        case "embed_documents":
            return client.embed_documents(texts(said["texts"]), titles=said.get("titles"), **given)
        case "embed":
            return client.embed(texts(said["texts"]), **options)
        case "similarity":
            return client.similarity(text(said["source"]), texts(said["targets"]), **given)
        case "tokenize":
            return client.tokenize(text(said["text"]), **options)
        case "detokenize":
            return client.detokenize(
                said["ids"], keep_special_tokens=said.get("keep_special_tokens", False)
            )
        case "model":
            return client.model()
    raise ValueError(said["method"])
