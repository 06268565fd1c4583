"""What gemwire refuses of Detokenize alone."""

from typing import Any

from gemwire.v1 import embedding_pb2 as pb
from support.refusals.observed import Refusal, refused
from support.refusals.provocations import first, whole_call
from support.refusals.servers import Servers

ANSWER_BYTES = 65536
UNKNOWN = 99_999


def refused_ids(servers: Servers, ids: list[int], **fields: Any) -> Refusal:
    request = pb.DetokenizeRequest(ids=ids, **fields)
    return refused(servers.get().embedding.Detokenize.future(request))


@whole_call("Options", "MODEL_NOT_FOUND")
def ids_of_another_model(servers: Servers, _: str) -> Refusal:
    return refused_ids(servers, [7], model="models/other")


@whole_call("Detokenize, number of ids", "RESPONSE_TOO_LARGE")
def more_ids_than_an_answer_has_bytes(servers: Servers, _: str) -> Refusal:
    return refused_ids(servers, [7] * ANSWER_BYTES)


@whole_call("Detokenize", "TOKEN_ID_OUT_OF_RANGE")
def an_id_of_another_vocabulary(servers: Servers, _: str) -> Refusal:
    return refused_ids(servers, [7, UNKNOWN])


@whole_call("Size of the answer, once made", "RESPONSE_TOO_LARGE")
def ids_of_a_text_that_is_too_large_to_send(servers: Servers, _: str) -> Refusal:
    spaces = servers.get().embedding.Tokenize(
        pb.TokenizeRequest(input=pb.EmbedInput(text=" " * 31))
    )
    (longest,) = list(spaces.ids)[1:-1]
    return refused_ids(servers, [longest] * 3000)


@first(("Options", "MODEL_NOT_FOUND"), ("Detokenize, number of ids", "RESPONSE_TOO_LARGE"))
def model_before_number_of_ids(servers: Servers, _: str) -> Refusal:
    return refused_ids(servers, [7] * ANSWER_BYTES, model="models/other")


@first(("Detokenize, number of ids", "RESPONSE_TOO_LARGE"), ("Detokenize", "TOKEN_ID_OUT_OF_RANGE"))
def number_of_ids_before_each_id(servers: Servers, _: str) -> Refusal:
    return refused_ids(servers, [UNKNOWN] * ANSWER_BYTES)
