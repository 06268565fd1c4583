"""What the real server answers to the generated stubs alone: the reference for every client library."""

from typing import Any

import grpc
from google.protobuf.json_format import ParseDict

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1 import embedding_pb2_grpc as stubs
from gemwire_conformance.cases import Case
from gemwire_conformance.messages import REQUESTS


async def answers(address: str, cases: dict[str, Case]) -> dict[str, Any]:
    """Vectors, scores or ids for every case that has `asks`: {"METHOD": REQUEST}."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = stubs.EmbeddingServiceStub(channel)
        found = {}
        for name, case in cases.items():
            for method, request in case.get("asks", {}).items():
                message = ParseDict(request, REQUESTS[method]())
                found[name] = _plain(await getattr(stub, method)(message))
        return found


def _plain(response: Any) -> Any:
    match response:
        case pb.EmbedResponse():
            return [list(response.embedding.values)]
        case pb.BatchEmbedResponse():
            return [list(result.embedding.values) for result in response.results]
        case pb.ComputeSimilarityResponse():
            return [result.score for result in response.results]
        case pb.TokenizeResponse():
            return list(response.ids)
        case pb.DetokenizeResponse():
            return response.text
    raise TypeError(type(response))
