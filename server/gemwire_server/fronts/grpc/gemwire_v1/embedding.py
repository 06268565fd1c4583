"""The unary methods of EmbeddingService."""

from dataclasses import replace

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.errors import InvalidInput
from gemwire_server.fronts.grpc.gemwire_v1.messages import ServedModel, check_options
from gemwire_server.fronts.grpc.gemwire_v1.wire import (
    BESIDE_RESULTS,
    ERROR_BYTES,
    EmbedResults,
    batch_response,
    cut,
    embed_response,
    results_that_fit,
)
from gemwire_server.fronts.grpc.handlers import response_too_large
from gemwire_server.service.call import Call
from gemwire_server.service.embedder import Embedder, check_quota
from gemwire_server.text.tokenizer import Encoded, Truncation

SCORE_BYTES = 4


class EmbeddingService:
    """Embed, BatchEmbed, ComputeSimilarity and Tokenize."""

    def __init__(
        self, embedder: Embedder, *, revision: str, max_inputs: int, max_response_bytes: int
    ) -> None:
        self._embedder = embedder
        self._revision = revision
        self._max_inputs = max_inputs
        self._max_response_bytes = max_response_bytes

    @property
    def _served(self) -> ServedModel:
        return self._embedder.served

    async def embed(self, request: pb.EmbedRequest, call: Call) -> bytes:
        options = check_options(request.options, self._served)
        answers, timing = await self._embedder.embed([request.input], options, call, ["input"])
        raise_first(answers)
        rest = pb.EmbedResponse(
            timing=timing if options.include_timing else None, model_revision=self._revision
        )
        return embed_response(answers, options.vectors, rest)

    async def batch_embed(self, request: pb.BatchEmbedRequest, call: Call) -> bytes:
        options = check_options(request.options, self._served)
        check_count(len(request.inputs), self._max_inputs, "inputs")
        most = results_that_fit(options.vectors, self._max_response_bytes)
        of_errors = (self._max_response_bytes - BESIDE_RESULTS) // ERROR_BYTES
        smaller = ", or ask for fewer dimensions or a smaller encoding" if most < of_errors else ""
        self._check_answer(len(request.inputs), most, "inputs", smaller)
        answers, timing = await self._embedder.embed(
            request.inputs,
            options,
            call,
            [f"inputs[{i}]" for i in range(len(request.inputs))],
        )
        rest = pb.BatchEmbedResponse(
            timing=timing if options.include_timing else None, model_revision=self._revision
        )
        return batch_response(answers, options.vectors, rest)

    def _check_answer(self, count: int, most: int, field: str, otherwise: str = "") -> None:
        """Refuses, before any work, what is answered with more bytes than a client may take."""
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
        source_options = check_options(request.options, self._served)
        target_options = source_options
        if request.HasField("target_options"):
            target_options = check_options(request.target_options, self._served, "target_options")
        if source_options.vectors.dimensions != target_options.vectors.dimensions:
            raise InvalidInput(
                "DIMENSIONS_DIFFER",
                "source and targets are compared at one size: their output_dimensionality differs",
                field="target_options.output_dimensionality",
            )
        check_count(len(request.targets), self._max_inputs - 1, "targets")
        most = (self._max_response_bytes - BESIDE_RESULTS) // SCORE_BYTES
        self._check_answer(len(request.targets), most, "targets")
        check_quota(call)
        embedder = self._embedder
        paths = [f"targets[{i}]" for i in range(len(request.targets))]
        with embedder.admitted([request.source, *request.targets], target_options, call):
            tokenized = [
                *await embedder.tokenize([request.source], source_options, call, ["source"]),
                *await embedder.tokenize(request.targets, target_options, call, paths),
            ]
        answers, _ = await embedder.compute_within_quota(tokenized, source_options, call)
        raise_first(answers)
        # A cosine does not depend on lengths, whatever the options ask of vectors.
        units = cut(answers.vectors, replace(source_options.vectors, normalize=True))
        return pb.ComputeSimilarityResponse(scores=(units[1:] @ units[0]).tolist())

    async def tokenize(self, request: pb.TokenizeRequest, call: Call) -> pb.TokenizeResponse:
        options = check_options(request.options, self._served)
        # Over the window is an answer here, not an error: all the ids tell how far.
        if options.truncation is Truncation.ERROR:
            options = replace(options, truncation=None)
        (encoded,) = await self._embedder.tokenize([request.input], options, call, ["input"])
        if not isinstance(encoded, Encoded):
            raise encoded
        return pb.TokenizeResponse(
            ids=encoded.ids.tolist(),
            pieces=self._embedder.tokenizer.pieces(encoded.ids) if request.include_pieces else (),
            over_limit=encoded.truncated or len(encoded.ids) > self._embedder.tokenizer.max_tokens,
        )


def check_count(count: int, limit: int, field: str) -> None:
    if count > limit:
        raise InvalidInput(
            "TOO_MANY_INPUTS",
            f"{count} {field} in one request; the limit is {limit}",
            field=field,
            count=count,
            limit=limit,
        )


def raise_first(answers: EmbedResults) -> None:
    """For calls that answer whole or not at all."""
    if answers.errors:
        raise answers.errors[min(answers.errors)]
