"""A server of the generated stubs that follows a test's script and keeps the requests."""

import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1 import embedding_pb2_grpc as stubs
from gemwire_client.errors import DOMAIN

DIMENSIONS = 4
LIMITS = pb.Limits(
    max_inputs_per_request=8, max_request_bytes=200_000, max_stream_inflight_inputs=16
)


def status(code: grpc.StatusCode, reason: str, retry_after: float | None = None) -> Status:
    made = Status(code=code.value[0], message=reason.lower())
    made.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata={"figure": "7"})
    )
    violation = error_details_pb2.BadRequest.FieldViolation(
        field="inputs[1].text", description="bad"
    )
    made.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(round(retry_after * 1e9))
        made.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return made


def foreign(code: grpc.StatusCode, said: str = "said in its place") -> Status:
    """A status that a proxy or a library would send, without the server's details."""
    return Status(code=code.value[0], message=said)


def vector(text: str) -> list[float]:
    """This server's vector of a text, by which a test knows the text."""
    return [
        float(len(text)),
        float(sum(map(ord, text)) % 9973),
        float(ord(text[0])) if text else 0.0,
        1.0,
    ]


class Scripted(stubs.EmbeddingServiceServicer, stubs.ModelServiceServicer):
    """`failures` are taken one a call before anything else; a text "bad" fails alone."""

    def __init__(self) -> None:
        self.failures: deque[Status] = deque()
        self.requests: list[Any] = []
        self.metadata: list[dict[str, Any]] = []
        self.limits = LIMITS
        self.credit = LIMITS.max_stream_inflight_inputs
        self.go_away_after: deque[int] = deque()  # texts answered, of one stream each
        self.break_after: deque[int] = deque()
        self.waits_for = 0  # texts that a stream must bring before the first answer
        self.breaks_with = status(grpc.StatusCode.UNAVAILABLE, "GONE")
        self.streams = 0
        self.revisions: list[str] = []  # of one stream or ComputeSimilarity each
        self.answered: list[int] = []
        self.stream_ended = threading.Event()
        self.silent = False
        self.knows_spans = True
        self.hold = threading.Event()  # what Embed and BatchEmbed wait for
        self.hold.set()
        self.hold_model = threading.Event()  # what GetModel waits for
        self.hold_model.set()
        # What a text is refused with, one a time it is sent; then it is answered.
        self.text_failures: defaultdict[str, deque[Status]] = defaultdict(deque)
        self.sent: list[list[int]] = []  # ids of each stream

    def _begin(self, request: Any, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self.metadata.append({key: value for key, value in context.invocation_metadata()})
        if self.failures:
            _abort(context, self.failures.popleft())

    def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        self.hold_model.wait()
        model = pb.Model(name="models/scripted", dimensions=DIMENSIONS, limits=self.limits)
        return pb.GetModelResponse(model=model)

    def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        self._begin(request, context)
        self.hold.wait()
        return pb.EmbedResponse(embedding=_embedding(request.input.text, request.options.encoding))

    def BatchEmbed(self, request: pb.BatchEmbedRequest, context: Any) -> pb.BatchEmbedResponse:
        self._begin(request, context)
        self.hold.wait()
        assert len(request.inputs) <= self.limits.max_inputs_per_request
        assert request.ByteSize() <= self.limits.max_request_bytes
        return pb.BatchEmbedResponse(
            results=[self._result(item, request.options) for item in request.inputs]
        )

    def ListModels(self, request: Any, context: Any) -> NoReturn:
        raise NotImplementedError

    def Tokenize(self, request: pb.TokenizeRequest, context: Any) -> pb.TokenizeResponse:
        self._begin(request, context)
        ends = range(1, len(request.input.text) + 1)
        places = [pb.TokenSpan(start_byte=end - 1, end_byte=end) for end in ends]
        return pb.TokenizeResponse(
            ids=[2, *map(ord, request.input.text), 1],
            spans=[pb.TokenSpan(), *places, pb.TokenSpan()]
            if request.include_spans and self.knows_spans
            else (),
        )

    def Detokenize(self, request: pb.DetokenizeRequest, context: Any) -> pb.DetokenizeResponse:
        self._begin(request, context)
        kept = [i for i in request.ids if request.keep_special_tokens or i > 2]
        return pb.DetokenizeResponse(text="".join(map(chr, kept)))

    def ComputeSimilarity(
        self, request: pb.ComputeSimilarityRequest, context: Any
    ) -> pb.ComputeSimilarityResponse:
        self._begin(request, context)
        assert len(request.targets) < self.limits.max_inputs_per_request
        return pb.ComputeSimilarityResponse(
            results=[self._score(item) for item in request.targets],
            model_revision=self._revision(),
        )

    def EmbedStream(
        self, requests: Iterator[pb.EmbedStreamRequest], context: Any
    ) -> Iterator[pb.EmbedStreamResponse]:
        self.streams += 1
        context.add_callback(self.stream_ended.set)
        opening = next(requests)
        self._begin(opening, context)
        sent: list[int] = []
        self.sent.append(sent)
        opened = pb.StreamOpened(max_inflight_inputs=self.credit, model_revision=self._revision())
        yield pb.EmbedStreamResponse(opened=opened)
        if self.silent:
            ended = threading.Event()
            context.add_callback(ended.set)
            ended.wait()
        leave = self.go_away_after.popleft() if self.go_away_after else None
        broken = self.break_after.popleft() if self.break_after else None
        answered = 0
        waiting: list[tuple[int, pb.EmbedInput]] = []
        for request in requests:
            batch = request.batch
            sent.extend(range(batch.first_id, batch.first_id + len(batch.inputs)))
            assert len(batch.inputs) <= self.limits.max_inputs_per_request
            if leave is not None and answered >= leave:
                if answered == leave:
                    yield pb.EmbedStreamResponse(go_away=pb.StreamGoAway(reason="drain"))
                    answered += 1
                gone = status(grpc.StatusCode.UNAVAILABLE, "DRAINING")
                results = [pb.StreamResult(id=batch.first_id + i, error=gone)
                           for i in range(len(batch.inputs))]  # fmt: skip
                yield _results(results)
                continue
            held = [(batch.first_id + i, item) for i, item in enumerate(batch.inputs)]
            if broken is not None and answered >= broken:
                _abort(context, self.breaks_with)
            answered += len(held)
            waiting += held
            if answered >= self.waits_for:
                yield self._answer_backwards(waiting, opening.open.options)
                waiting = []

    def _result(self, item: pb.EmbedInput, options: pb.EmbedOptions) -> pb.EmbedResult:
        if self.text_failures[item.text]:
            return pb.EmbedResult(error=self.text_failures[item.text].popleft())
        if item.text == "bad":
            return pb.EmbedResult(error=status(grpc.StatusCode.INVALID_ARGUMENT, "BAD_TEXT"))
        return pb.EmbedResult(embedding=_embedding(item.text, options.encoding))

    def _score(self, item: pb.EmbedInput) -> pb.SimilarityResult:
        result = self._result(item, pb.EmbedOptions())
        if result.HasField("error"):
            return pb.SimilarityResult(error=result.error)
        return pb.SimilarityResult(score=len(item.text))

    def _revision(self) -> str:
        return self.revisions.pop(0) if self.revisions else ""

    def _answer_backwards(
        self, held: list[tuple[int, pb.EmbedInput]], options: pb.EmbedOptions
    ) -> pb.EmbedStreamResponse:
        results = []
        for number, item in reversed(held):
            result = self._result(item, options)
            self.answered.append(number)
            results.append(
                pb.StreamResult(id=number, error=result.error)
                if result.HasField("error")
                else pb.StreamResult(id=number, embedding=result.embedding)
            )
        return _results(results)


def _results(results: list[pb.StreamResult]) -> pb.EmbedStreamResponse:
    return pb.EmbedStreamResponse(
        results=pb.StreamResults(results=results, granted_inputs=len(results))
    )


def _embedding(text: str, encoding: int) -> pb.Embedding:
    made = pb.Embedding(dimensions=DIMENSIONS, encoding=encoding, token_count=len(text))  # type: ignore[arg-type]
    numbers = np.array(vector(text), np.float32)
    match encoding:
        case pb.VECTOR_ENCODING_FLOAT32:
            made.values.extend(numbers.tolist())
        case pb.VECTOR_ENCODING_BFLOAT16:
            made.data = (numbers.view(np.uint32) >> 16).astype("<u2").tobytes()
        case pb.VECTOR_ENCODING_FLOAT16:
            made.data = numbers.astype("<f2").tobytes()
        case pb.VECTOR_ENCODING_INT8:
            made.scale = float(np.abs(numbers).max()) / 127
            made.data = np.round(numbers / made.scale).astype(np.int8).tobytes()
        case pb.VECTOR_ENCODING_INT8_FIXED:
            made.scale = 1 / 127
            made.data = np.round(np.clip(numbers, -1, 1) * 127).astype(np.int8).tobytes()
        case pb.VECTOR_ENCODING_UBINARY:
            made.data = np.packbits(numbers > 0).tobytes()
        case pb.VECTOR_ENCODING_BINARY:
            made.data = (np.packbits(numbers > 0) - 128).astype(np.int8).tobytes()
        case pb.VECTOR_ENCODING_UBINARY_LSB:
            made.data = np.packbits(numbers > 0, bitorder="little").tobytes()
    return made


def _abort(context: grpc.ServicerContext, failure: Status) -> NoReturn:
    context.abort_with_status(rpc_status.to_status(failure))


@contextmanager
def scripted_server() -> Iterator[tuple[Scripted, str]]:
    servicer = Scripted()
    server = grpc.server(ThreadPoolExecutor(16))
    stubs.add_EmbeddingServiceServicer_to_server(servicer, server)
    stubs.add_ModelServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield servicer, f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
