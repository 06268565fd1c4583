"""Triton's client of the Open Inference Protocol over gRPC: sync, asyncio and its stream."""

import asyncio
import queue
from collections.abc import Sequence
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient as AsyncInferenceServerClient

from support.peer_script import DOCUMENT, GIVEN, QUERY, RAW, error, finish, vectors

MODEL = "gemwire-mini"


def texts(values: Sequence[str]) -> list[Any]:
    tensor = InferInput("text", [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array(values, dtype=object))
    return [tensor]


def infer(values: Sequence[str], address: str = GIVEN.grpc, token: str = "", **options: Any) -> Any:
    headers = {"authorization": f"Bearer {token}"} if token else None
    with InferenceServerClient(address) as client:
        wanted = [InferRequestedOutput("embedding")]
        answer = client.infer(
            MODEL, texts(values), outputs=wanted, parameters=options or None, headers=headers
        )
    return answer.as_numpy("embedding")


vectors("default", RAW, infer(GIVEN.queries))
vectors("query", QUERY, infer(GIVEN.queries, task="retrieval_query"))
vectors("document", DOCUMENT, infer(GIVEN.documents, task="retrieval_document"))
vectors(
    "dimensions",
    DOCUMENT,
    infer(GIVEN.documents, task="retrieval_document", dimensions=GIVEN.dimensions),
)
vectors(
    "token", QUERY, infer(GIVEN.queries, GIVEN.guarded_grpc, GIVEN.token, task="retrieval_query")
)


async def with_asyncio() -> Any:
    async with AsyncInferenceServerClient(GIVEN.grpc) as client:
        options = {"task": "retrieval_query"}
        answer = await client.infer(MODEL, texts(GIVEN.queries), parameters=options)
    return answer.as_numpy("embedding")


vectors("asyncio", QUERY, asyncio.run(with_asyncio()))

with InferenceServerClient(GIVEN.grpc) as client:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(MODEL)
    metadata = client.get_model_metadata(MODEL)
    assert [tensor.name for tensor in metadata.outputs] == ["embedding"], metadata
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for text in GIVEN.queries:
        client.async_stream_infer(MODEL, texts([text]), parameters={"task": "retrieval_query"})
    rows = []
    for _ in GIVEN.queries:
        result, failure = answers.get(timeout=30)
        assert failure is None, failure
        rows.append(result.as_numpy("embedding")[0])
    client.stop_stream()
    vectors("stream", QUERY, rows)

error("too_long", lambda: infer([GIVEN.long_text]))
error("wrong_token", lambda: infer(["Mars"], GIVEN.guarded_grpc, "wrong"))
error("overload", lambda: infer(["Mars"], GIVEN.full_grpc))
finish()
