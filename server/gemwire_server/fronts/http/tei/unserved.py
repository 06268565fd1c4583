"""/embed_sparse, /predict and /rerank, for which the model is of another type."""

from typing import NoReturn

from gemwire_server.dialects.tei.errors import (
    WrongModel,
    empty,
    not_a_classifier,
    not_sparse,
)
from gemwire_server.fronts.http.tei.errors import wrong_type
from gemwire_server.fronts.http.tei.requests import is_texts, read_object
from gemwire_server.service.call import Call


class UnservedRoutes:
    """Answers as TEI does where it serves a model that gives vectors."""

    def __init__(self, max_values: int) -> None:
        self._max_values = max_values

    async def embed_sparse(self, raw: bytes, _: Call) -> NoReturn:
        self._check_inputs(raw)
        raise not_sparse()

    async def predict(self, raw: bytes, _: Call) -> NoReturn:
        self._check_inputs(raw)
        raise not_a_classifier()

    async def rerank(self, raw: bytes, _: Call) -> NoReturn:
        body = read_object(raw, self._max_values)
        if not isinstance(body.get("query"), str):
            raise wrong_type("query", "a string")
        if not is_texts(texts := body.get("texts")):
            raise wrong_type("texts", "an array of strings")
        raise (
            WrongModel("MODEL_TYPE", "model is not a re-ranker model") if texts else empty("texts")
        )

    def _check_inputs(self, raw: bytes) -> None:
        if "inputs" not in read_object(raw, self._max_values):
            raise wrong_type("inputs", "a string or an array")
