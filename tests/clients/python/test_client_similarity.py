"""`similarity` of both clients: splitting, errors of targets, and scores."""

from collections.abc import Callable
from typing import Any

from gemwire.v1 import embedding_pb2 as pb
from support.scripted import Scripted

Run = Callable[..., Any]


def texts(count: int) -> list[str]:
    return [f"text number {i}" for i in range(count)]


def test_no_similarity_asks_for_more_than_an_answer_holds(call: Run, scripted: Scripted) -> None:
    scripted.limits = pb.Limits(
        max_inputs_per_request=1000, max_request_bytes=200_000, max_response_bytes=1024 + 7 * 4
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
