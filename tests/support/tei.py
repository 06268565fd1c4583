"""Calls of tei.v1 as its clients make them: from the .proto alone."""

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from gemwire_compat import tei_pb2 as pb
from support.methods import method_over


class Tei:
    """The methods of tei.v1 over a channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.methods: dict[str, Any] = {}
        for service in pb.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                self.methods[method.name] = method_over(channel, method)

    def __getattr__(self, name: str) -> Any:
        return self.methods[name]

    def vector(self, text: str, **options: Any) -> NDArray[np.float32]:
        """The vector of Embed, fp32 [dimensions]."""
        return vector(self.methods["Embed"](pb.EmbedRequest(inputs=text, **options)))

    def error(self, method: str, request: Message | Iterable[Message]) -> tuple[str, str]:
        """(name of the code, message) of a call that fails."""
        try:
            answer = self.methods[method](request)
            if isinstance(answer, Iterator):
                list(answer)
        except grpc.RpcError as error:
            return code_of(error)
        raise AssertionError("the call did not fail")


def vector(response: pb.EmbedResponse) -> NDArray[np.float32]:
    return np.array(response.embeddings, np.float32)


def code_of(error: grpc.RpcError) -> tuple[str, str]:
    """(name of the code, message)."""
    assert isinstance(error, grpc.Call)
    return error.code().name, error.details() or ""


def until_failure(answers: Iterable[Any]) -> tuple[list[Any], tuple[str, str]]:
    """The answers of a stream, and (code, message) of the status that ends it; OK is ("OK", "")."""
    got: list[Any] = []
    try:
        got.extend(answers)  # keeps what came before the failure
    except grpc.RpcError as error:
        return got, code_of(error)
    return got, ("OK", "")
