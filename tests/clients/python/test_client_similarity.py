"""`similarity` of both clients: splitting, errors of targets, and scores."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client import AsyncClient, Client, GemwireError, InvalidInput, Overloaded
from support.harness import running
from support.scripted import Scripted, status

Run = Callable[..., Any]


def texts(count: int) -> list[str]:
    return [f"text number {i}" for i in range(count)]


def test_no_similarity_asks_for_more_than_an_answer_holds(call: Run, scripted: Scripted) -> None:
    scripted.limits = pb.Limits(
        max_inputs_per_request=1000, max_request_bytes=200_000, max_response_bytes=1024 + 7 * 512
    )
    some = texts(20)
    assert call("similarity", "a", some).tolist() == [len(text) for text in some]
    assert [len(request.targets) for request in scripted.requests] == [7, 7, 6]


def test_similarity_takes_any_number_of_targets(call: Run, scripted: Scripted) -> None:
    targets = ["x" * (i + 1) for i in range(20)]
    scores = call("similarity", "s", targets, task="retrieval_query", target_task="clustering")
    assert scores.tolist() == [float(i + 1) for i in range(20)]
    assert max(len(request.targets) for request in scripted.requests) == 7
    assert scripted.requests[0].options.task == 1
    assert scripted.requests[0].target_options.task == 6


def test_bad_targets_are_named_with_their_places_across_requests(
    call: Run, scripted: Scripted
) -> None:
    targets = texts(20)
    targets[3] = targets[6] = targets[17] = "bad"
    with pytest.raises(InvalidInput) as caught:
        call("similarity", "s", targets)
    assert caught.value.index == 3 and "text 3" in str(caught.value)
    assert list(caught.value.errors) == [3, 6, 17]
    for index, error in caught.value.errors.items():
        assert isinstance(error, InvalidInput)
        assert (error.index, error.reason) == (index, "BAD_TEXT")
    assert [len(request.targets) for request in scripted.requests] == [7, 7, 6]


def test_each_failed_target_has_an_error_of_its_own_type(call: Run, scripted: Scripted) -> None:
    full = status(grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")
    scripted.text_failures["large"].append(full)
    with pytest.raises(Overloaded) as caught:
        call("similarity", "s", ["fine", "large", "bad"])
    assert [type(error) for error in caught.value.errors.values()] == [Overloaded, InvalidInput]


def test_the_sources_error_is_the_calls(call: Run, scripted: Scripted) -> None:
    scripted.failures.append(status(grpc.StatusCode.INVALID_ARGUMENT, "EMPTY_TEXT"))
    with pytest.raises(InvalidInput) as caught:
        call("similarity", "", [*texts(20), "bad"])
    assert caught.value.index is None and caught.value.errors == {}
    assert caught.value.reason == "EMPTY_TEXT" and len(scripted.requests) == 1


def test_scores_of_two_revisions_are_never_mixed(call: Run, scripted: Scripted) -> None:
    scripted.revisions = ["first", "first", "first"]
    assert len(call("similarity", "s", texts(20))) == 20
    scripted.revisions = ["first", "second", "second"]
    with pytest.raises(GemwireError) as caught:
        call("similarity", "s", texts(20))
    assert caught.value.reason == "MODEL_CHANGED"


def test_no_targets_are_no_scores(call: Run, scripted: Scripted) -> None:
    scores = call("similarity", "s", [])
    assert scores.dtype == np.float32 and scores.shape == (0,) and scripted.requests == []


def test_no_request_has_more_tokens_than_the_queue(tiny_checkpoint: Path) -> None:
    long = ["one two three four " * 5] * 40
    with running(str(tiny_checkpoint), max_queue_tokens=1000) as served:
        with Client(served.address) as client:
            assert len(client.embed(long)) == 40
            assert len(client.similarity("a", long)) == 40

        async def both() -> tuple[Any, Any]:
            async with AsyncClient(served.address) as client:
                return await client.embed(long), await client.similarity("a", long)

        vectors, scores = asyncio.run(both())
        assert len(vectors) == len(scores) == 40


def test_against_a_server(tiny_checkpoint: Path) -> None:
    """20 targets in requests of 7."""
    targets = texts(20)
    with running(str(tiny_checkpoint), dtype="float32", max_inputs_per_request=8) as served:

        async def similarity(*arguments: Any) -> Any:
            async with AsyncClient(served.address) as client:
                return await client.similarity(*arguments)

        with Client(served.address) as client:
            source, vectors = client.embed("a source"), client.embed(targets)
            clients: dict[str, Run] = {
                "sync": client.similarity,
                "asyncio": lambda *arguments: asyncio.run(similarity(*arguments)),
            }
            for ask in clients.values():
                scores = ask("a source", targets)
                assert scores.dtype == np.float32
                np.testing.assert_allclose(scores, vectors @ source, atol=2e-6)
                with pytest.raises(InvalidInput) as caught:
                    ask("a source", ["", *targets, "", "word " * 3000])
                reasons = {i: error.reason for i, error in caught.value.errors.items()}
                assert reasons == {0: "EMPTY_TEXT", 21: "EMPTY_TEXT", 22: "TEXT_TOO_LONG"}
                with pytest.raises(InvalidInput) as caught:
                    ask("", targets)
                assert list(caught.value.fields) == ["source.text"] and not caught.value.errors
