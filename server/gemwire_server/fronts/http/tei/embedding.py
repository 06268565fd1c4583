"""/embed, /embed_all and /similarity."""

from gemwire_server.dialects.tei.embedding import Embedding
from gemwire_server.dialects.tei.errors import empty
from gemwire_server.fronts.http.numbers import PER_MICROSECOND, write_numbers
from gemwire_server.fronts.http.tei.answers import (
    array,
    check_size,
    vector_bytes,
    vectors,
)
from gemwire_server.fronts.http.tei.errors import wrong_type
from gemwire_server.fronts.http.tei.requests import (
    check_batch,
    is_texts,
    read_inputs,
    read_object,
    read_options,
)
from gemwire_server.service.call import Call
from gemwire_server.service.service import Service


class EmbedRoutes:
    """Answers with vectors of all the texts of a request, or none."""

    def __init__(
        self, service: Service, embedding: Embedding, *, max_values: int, max_response_bytes: int
    ) -> None:
        self._service = service
        self._embedding = embedding
        self._max_values = max_values
        self._max_response_bytes = max_response_bytes

    async def embed(self, raw: bytes, call: Call) -> bytes:
        body = read_object(raw, self._max_values)
        texts = read_inputs(body.get("inputs"), self._service.max_inputs)
        options = read_options(body, of_vectors=True)
        size = self._service.model.dimensions[0]
        check_size(len(texts), min(options.dimensions or size, size), self._max_response_bytes)
        embedded = await self._embedding.embed(texts, options, call)
        call.headers = embedded.metadata.headers()
        return await self._service.run(
            lambda: vectors(embedded.vectors), embedded.vectors.size // PER_MICROSECOND
        )

    async def embed_all(self, raw: bytes, call: Call) -> bytes:
        body = read_object(raw, self._max_values)
        texts = read_inputs(body.get("inputs"), self._service.max_inputs)
        options = read_options(body, of_vectors=False)
        token_bytes = vector_bytes(self._service.model.hidden_size)
        embedded = await self._embedding.embed_all(texts, options, call, token_bytes=token_bytes)
        call.headers = embedded.metadata.headers()
        size = sum(rows.size for rows in embedded.rows)
        return await self._service.run(
            lambda: array(map(vectors, embedded.rows)), size // PER_MICROSECOND
        )

    async def similarity(self, raw: bytes, call: Call) -> bytes:
        body = read_object(raw, self._max_values)
        inputs = body.get("inputs")
        if not isinstance(inputs, dict):
            raise wrong_type("inputs", "an object")
        source, sentences = inputs.get("source_sentence"), inputs.get("sentences")
        if not isinstance(source, str):
            raise wrong_type("inputs.source_sentence", "a string")
        if not is_texts(sentences):
            raise wrong_type("inputs.sentences", "an array of strings")
        parameters = body.get("parameters")
        if not isinstance(parameters, dict | None):
            raise wrong_type("parameters", "an object")
        options = read_options(parameters or {}, of_vectors=False)
        if not sentences:
            raise empty("inputs.sentences")
        check_batch(1 + len(sentences), self._service.max_inputs)
        scores, metadata = await self._embedding.similarity(source, sentences, options, call)
        call.headers = metadata.headers()
        return write_numbers(scores)
