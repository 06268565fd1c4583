"""The methods that this type of model has nothing for: Predict, Rerank and sparse vectors."""

from typing import NoReturn

from google.protobuf.message import Message

from gemwire_compat import tei_pb2 as pb
from gemwire_server.dialects.tei.errors import (
    Refused,
    WrongModel,
    empty,
    not_a_classifier,
    not_a_reranker,
    not_sparse,
)
from gemwire_server.fronts.grpc.handlers import Context
from gemwire_server.fronts.grpc.tei_v1.stream import Group
from gemwire_server.service.call import Call


async def embed_sparse(_: pb.EmbedSparseRequest, __: Call) -> NoReturn:
    raise not_sparse()


async def predict(_: pb.PredictRequest, __: Call) -> NoReturn:
    raise not_a_classifier()


async def predict_pair(request: pb.PredictPairRequest, _: Call) -> NoReturn:
    raise _of_pair(request)


async def rerank(request: pb.RerankRequest, _: Call) -> NoReturn:
    raise not_a_reranker() if request.texts else empty("texts")


async def rerank_stream(_: Context, __: Call) -> NoReturn:
    raise not_a_reranker()


async def embed_sparse_group(_: Group) -> NoReturn:
    raise not_sparse()


async def predict_group(_: Group) -> NoReturn:
    raise not_a_classifier()


async def predict_pair_group(group: Group) -> None:
    for item in group.items:
        item.answer = _of_pair(item.request)


def _of_pair(request: Message) -> Refused | WrongModel:
    assert isinstance(request, pb.PredictPairRequest)
    count = len(request.inputs)
    if count in (1, 2):
        return not_a_classifier()
    return Refused(
        "TOO_MANY_INPUTS",
        f"`inputs` must have a single or two elements. Given: {count}",
        field="inputs",
    )
