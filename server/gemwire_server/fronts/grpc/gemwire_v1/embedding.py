"""The unary methods of EmbeddingService."""

import time

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.errors import response_too_large
from gemwire_server.fronts.grpc.gemwire_v1.messages import (
    check_options,
    read_input,
    read_inputs,
    similarity_messages,
    timing_message,
)
from gemwire_server.fronts.grpc.gemwire_v1.wire import (
    BESIDE_RESULTS,
    batch_response,
    embed_response,
    errors_that_fit,
    results_that_fit,
    token_spans,
)
from gemwire_server.fronts.grpc.status import duration
from gemwire_server.service.call import Call
from gemwire_server.service.service import Service

SIZE_OF_TARGETS = "target_options.output_dimensionality"


class EmbeddingService:
    """Embed, BatchEmbed, ComputeSimilarity, Tokenize and Detokenize."""

    def __init__(self, service: Service, *, max_response_bytes: int) -> None:
        self._service = service
        self._revision = service.model.revision
        self._max_response_bytes = max_response_bytes

    async def embed(self, request: pb.EmbedRequest, call: Call) -> bytes:
        options = check_options(request.options, self._service)
        inputs = [read_input(request.input)]
        results, timing = await self._service.embed(inputs, options, call, ["input"], "input")
        results.raise_first_error()
        rest = pb.EmbedResponse(
            timing=timing_message(timing) if request.options.include_timing else None,
            model_revision=self._revision,
        )
        return embed_response(results, options.vectors, rest)

    async def batch_embed(self, request: pb.BatchEmbedRequest, call: Call) -> bytes:
        options = check_options(request.options, self._service)
        count = len(request.inputs)
        self._service.check_count(count, "inputs")
        most = results_that_fit(options.vectors, self._max_response_bytes)
        of_errors = errors_that_fit(self._max_response_bytes)
        smaller = ", or ask for fewer dimensions or a smaller encoding" if most < of_errors else ""
        self._check_answer(count, most, "inputs", smaller)
        results, timing = await self._service.embed(read_inputs(request.inputs), options, call)
        rest = pb.BatchEmbedResponse(
            timing=timing_message(timing) if request.options.include_timing else None,
            model_revision=self._revision,
        )
        return batch_response(results, options.vectors, rest)

    def _check_answer(self, count: int, most: int, field: str, otherwise: str = "") -> None:
        """Refuses, before any work, a request whose answer has more bytes than a client may take."""
        if count > most:
            raise response_too_large(
                f"the answer to {count} {field} can have too many bytes",
                self._max_response_bytes,
                f"send at most {most} at once{otherwise}",
                field=field,
                count=count,
                most=most,
            )

    async def compute_similarity(
        self, request: pb.ComputeSimilarityRequest, call: Call
    ) -> pb.ComputeSimilarityResponse:
        of_source = of_targets = check_options(request.options, self._service)
        if request.HasField("target_options"):
            of_targets = check_options(request.target_options, self._service, "target_options")
        options, count = (of_source, of_targets), len(request.targets)
        self._service.check_similarity(options, count, SIZE_OF_TARGETS)
        self._check_answer(count, errors_that_fit(self._max_response_bytes), "targets")
        results, timing = await self._service.similarity(
            read_input(request.source),
            read_inputs(request.targets),
            options,
            call,
            SIZE_OF_TARGETS,
        )
        return pb.ComputeSimilarityResponse(
            results=similarity_messages(results),
            timing=timing_message(timing) if request.options.include_timing else None,
            model_revision=self._revision,
        )

    async def tokenize(self, request: pb.TokenizeRequest, call: Call) -> bytes:
        options = check_options(request.options, self._service)
        text = await self._service.tokenize(
            read_input(request.input), options, call, spans=request.include_spans
        )

        def answer() -> bytes:
            message = pb.TokenizeResponse(
                ids=text.ids.tolist(),
                pieces=self._service.pieces(text.ids) if request.include_pieces else (),
                over_limit=text.over_limit,
                model_revision=self._revision,
            )
            spans = token_spans(text.spans) if text.spans is not None else b""
            if request.options.include_timing:
                message.timing.tokenize.CopyFrom(duration(text.seconds))
                message.timing.total.CopyFrom(duration(time.monotonic() - call.arrived))
            return message.SerializeToString() + spans

        return await self._service.run(answer, len(text.ids))

    async def detokenize(self, request: pb.DetokenizeRequest, call: Call) -> pb.DetokenizeResponse:
        # Without special tokens each id stands for a byte or more.
        most = self._max_response_bytes - BESIDE_RESULTS
        parts, size = [], 0
        text = self._service.detokenize(
            request.ids,
            call,
            model=request.model,
            keep_special_tokens=request.keep_special_tokens,
        )
        self._check_answer(len(request.ids), most, "ids")
        async for part in text:
            size += len(part.encode())
            if size > most:
                raise response_too_large(
                    f"the text of {len(request.ids)} ids has too many bytes",
                    self._max_response_bytes,
                    "send fewer at once",
                )
            parts.append(part)
        return pb.DetokenizeResponse(text="".join(parts), model_revision=self._revision)
