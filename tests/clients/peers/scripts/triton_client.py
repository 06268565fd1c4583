"""Triton's client of the Open Inference Protocol over gRPC."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput

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

error("too_long", lambda: infer([GIVEN.long_text]))
error("wrong_token", lambda: infer(["Mars"], GIVEN.guarded_grpc, "wrong"))
error("overload", lambda: infer(["Mars"], GIVEN.full_grpc))
finish()
