"""All that Triton's client over gRPC asks of a server, and the contract that it brings.

It gets `address`, `queries`, `documents`, `titles` and `dimensions`, and prints what it found.
"""

import asyncio
import base64
import json
import queue
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from tritonclient.grpc import (
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
    model_config_pb2,
    service_pb2,
)
from tritonclient.grpc.aio import InferenceServerClient as AsyncInferenceServerClient
from tritonclient.utils import InferenceServerException

GIVEN = SimpleNamespace(**json.loads(sys.argv[1]))
MODEL = "tiny"
WAIT = 30.0
QUERY = {"task": "query"}
SHORT = QUERY | {"dimensions": GIVEN.dimensions}


def tensor(name: str, values: Sequence[str], *more: int) -> Any:
    made = InferInput(name, [len(values), *more], "BYTES")
    shaped = np.array(values, dtype=object).reshape(len(values), *more)
    made.set_data_from_numpy(shaped)
    return made


def encoded(result: Any) -> str:
    rows = result.as_numpy("embedding")
    assert rows.dtype == np.float32
    return base64.b64encode(rows.tobytes()).decode()


def failed(call: Callable[[], object]) -> dict[str, str]:
    try:
        call()
    except InferenceServerException as error:
        return {"status": error.status() or "", "message": error.message()}
    raise AssertionError("no error")


def with_calls(client: Any) -> dict[str, str]:
    texts = [tensor("text", GIVEN.queries)]
    outputs = [InferRequestedOutput("embedding")]
    titled = [tensor("text", GIVEN.documents, 1), tensor("title", GIVEN.titles, 1)]
    pending: queue.Queue[Any] = queue.Queue()
    client.async_infer(
        MODEL,
        texts,
        callback=lambda result, error: pending.put((result, error)),
        parameters=QUERY,
    )
    result, error = pending.get(timeout=WAIT)
    assert error is None, error
    return {
        "queries": encoded(client.infer(MODEL, texts, outputs=outputs, parameters=QUERY)),
        "queries with Triton's options": encoded(
            client.infer(
                MODEL,
                texts,
                model_version="1",
                sequence_id=3,
                priority=9,
                timeout=1,
                compression_algorithm="gzip",
                parameters=QUERY,
            )
        ),
        "queries by callback": encoded(result),
        "short queries": encoded(client.infer(MODEL, texts, parameters=SHORT)),
        "documents": encoded(client.infer(MODEL, titled, parameters={"task": "document"})),
    }


async def with_asyncio() -> dict[str, str]:
    async with AsyncInferenceServerClient(GIVEN.address) as client:
        texts = [tensor("text", GIVEN.queries)]
        infer = [client.infer(MODEL, texts, parameters=each) for each in (QUERY, SHORT)]
        full, short = await asyncio.gather(*infer)

        async def requests() -> AsyncIterator[dict[str, Any]]:
            for parameters in (QUERY, SHORT):
                yield {"model_name": MODEL, "inputs": texts, "parameters": parameters}

        streamed = [each async for each in client.stream_infer(requests())]
        assert [error for _, error in streamed] == [None, None], streamed
    results = {"async queries": full, "short async queries": short}
    (results["streamed queries"], _), (results["short streamed queries"], _) = streamed
    return {label: encoded(result) for label, result in results.items()}


def with_stream(client: Any) -> list[dict[str, str]]:
    """Three requests, the second with an empty text."""
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for i, texts in enumerate((GIVEN.queries, ["a", ""], GIVEN.queries)):
        made = [tensor("text", texts)]
        client.async_stream_infer(MODEL, made, request_id=str(i), parameters=QUERY)
    found = []
    for _ in range(3):
        result, error = answers.get(timeout=WAIT)
        if error is None:
            found.append({"id": result.get_response().id, "queries": encoded(result)})
        else:
            found.append({"message": error.message()})
    client.stop_stream()
    return found


def description(client: Any) -> dict[str, Any]:
    return {
        "live": client.is_server_live(),
        "ready": [client.is_server_ready(), client.is_model_ready(MODEL)],
        "other ready": client.is_model_ready("other"),
        "server": client.get_server_metadata(as_json=True),
        "model": client.get_model_metadata(MODEL, as_json=True),
        "config": client.get_model_config(MODEL, as_json=True),
        "index": client.get_model_repository_index(as_json=True),
        "statistics": client.get_inference_statistics(MODEL, as_json=True),
    }


def contract() -> dict[str, Any]:
    """Fields by number, type and label, values of enums, and methods by their messages."""
    found: dict[str, Any] = {}

    def add(message: Any) -> None:
        for field in message.fields:
            kind = field.message_type or field.enum_type
            name = kind.full_name if kind else ""
            found[field.full_name] = [field.number, field.type, field.is_repeated, name]
        for inner in message.nested_types:
            add(inner)

    for file in (service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR):
        for message in file.message_types_by_name.values():
            add(message)
        for enum in file.enum_types_by_name.values():
            found |= {f"{enum.full_name}.{each.name}": [each.number] for each in enum.values}
        for service in file.services_by_name.values():
            for method in service.methods:
                found[method.full_name] = [
                    method.input_type.full_name,
                    method.client_streaming,
                    method.output_type.full_name,
                    method.server_streaming,
                ]
    return found


with InferenceServerClient(GIVEN.address) as client:
    printed = {
        "contract": contract(),
        "vectors": with_calls(client) | asyncio.run(with_asyncio()),
        "stream": with_stream(client),
        "errors": {
            "empty": failed(lambda: client.infer(MODEL, [tensor("text", ["a", ""])])),
            "model": failed(lambda: client.infer("other", [tensor("text", ["a"])])),
            "metadata": failed(lambda: client.get_model_metadata("other")),
            "version": failed(
                lambda: client.infer(MODEL, [tensor("text", ["a"])], model_version="2")
            ),
            "load": failed(lambda: client.load_model(MODEL)),
        },
        "description": description(client),
    }
print(json.dumps(printed))
