"""POST /v1/embeddings."""

from gemwire_server.config.options import ServerConfig
from gemwire_server.fronts.http.bodies import MAX_VALUES, read_json
from gemwire_server.fronts.http.openai.answer import answer, check_size, writing_microseconds
from gemwire_server.fronts.http.openai.inputs import InputLimits
from gemwire_server.fronts.http.openai.names import ModelNames
from gemwire_server.fronts.http.openai.requests import field_name, read_request
from gemwire_server.service.call import Call
from gemwire_server.service.service import Service
from gemwire_server.service.vectors import cut


class Embeddings:
    """The vectors of the texts in a request, all or none of them."""

    def __init__(self, service: Service, config: ServerConfig, names: ModelNames) -> None:
        self._service = service
        self._names = names
        self._max_response_bytes = config.max_response_bytes
        # A request of more ids than the queue takes would be refused.
        ids = config.max_queue_tokens if config.http_token_ids else 0
        # A title may go with each input.
        self._max_values = MAX_VALUES + 2 * service.max_inputs + ids
        self._limits = InputLimits(
            inputs=service.max_inputs,
            token_ids=config.http_token_ids,
            vocabulary=service.model.vocabulary_size,
        )

    async def create(self, raw: bytes, call: Call) -> bytes:
        """Raises NotFound, InvalidInput, and what `Service.embed` raises."""
        request = read_request(read_json(raw, self._max_values), self._names, self._limits)
        options = self._service.check(request.options, field_name)
        vectors, encoding = options.vectors, request.encoding_format
        count = len(request.inputs)
        check_size(count, vectors.dimensions, encoding, self._max_response_bytes)
        results, _ = await self._service.embed(
            request.inputs, options, call, request.paths, "input", all_or_none=True
        )

        def write() -> bytes:
            tokens = int(results.token_counts.sum())
            return answer(cut(results.vectors, vectors), tokens, encoding, request.model)

        return await self._service.run(
            write, writing_microseconds(count, vectors.dimensions, encoding)
        )
