"""The client for threads: plain calls, numpy in and out."""

import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, cast, overload

import grpc
import numpy as np
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1 import embedding_pb2_grpc as stubs
from gemwire_client import requests
from gemwire_client.errors import (
    DeadlineExceeded,
    GemwireError,
    Unavailable,
    from_rpc_error,
)
from gemwire_client.exchange import Answer, Exchange
from gemwire_client.gather import Gathered
from gemwire_client.requests import Model, Text
from gemwire_client.service_config import Patience, channel_options
from gemwire_client.vectors import Vector, decode

OnTokens = Callable[[int], None] | None
CALLS_IN_FLIGHT = 4  # of one `embed` that is more than a request


class Client:
    """Calls a gemwire server at `address`: "host:port", "dns:///name:port" or "unix:/path".

    The channel is plain unless `credentials` are given. `token` is sent as a bearer token. `timeout` is
    for each call in seconds, and for `embed_iter` the longest wait for an answer; None waits for ever.
    Every method raises a GemwireError. Threads may share a client.
    """

    def __init__(
        self,
        address: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        timeout: float | None = 60.0,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        settings = channel_options(options)
        if credentials is None:
            self._channel = grpc.insecure_channel(address, settings)
        else:
            self._channel = grpc.secure_channel(address, credentials, settings)
        self._embedding = stubs.EmbeddingServiceStub(self._channel)
        self._models = stubs.ModelServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._timeout = timeout
        self._patience = Patience()
        self._model: Model | None = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the channel; calls under way fail."""
        self._channel.close()

    def model(self) -> Model:
        """What the server serves; asked once."""
        if self._model is None:
            response = self._call(self._models.GetModel, pb.GetModelRequest(), self._timeout)
            self._model = Model.of(response.model)
        return self._model

    def embed_query(self, text: Text, *, dimensions: int | None = None) -> NDArray[np.float32]:
        """The vector of a search query; float32 [dimensions]."""
        return self.embed(text, task="retrieval_query", dimensions=dimensions)  # type: ignore[return-value]

    def embed_documents(
        self,
        texts: Sequence[Text],
        *,
        titles: Sequence[str] | None = None,
        dimensions: int | None = None,
    ) -> NDArray[np.float32]:
        """The vectors of documents to search in; float32 [n, dimensions]."""
        documents = requests.with_titles(texts, titles)
        return self.embed(documents, task="retrieval_document", dimensions=dimensions)  # type: ignore[return-value]

    def embed(
        self, texts: Text | Sequence[Text], *, timeout: float | None = None, **options: Any
    ) -> Vector:
        """Vectors of texts, in order: [n, dimensions], or [dimensions] of a single str or Document.

        Options: `task`, `prompt_name` or `prompt` (what goes before each text), `dimensions`, `normalize`,
        `truncation` ("error", "end", "start"), `encoding` ("float32", "bfloat16", "float16", "int8",
        "binary"), `priority`. Any number of texts: what is over the server's limits goes in several
        requests. If some texts fail, raises BatchError, which has each one's error; for partial results
        see `embed_iter`.
        """
        settings = requests.options(**options)
        timeout = self._timeout if timeout is None else timeout
        if isinstance(texts, str | requests.Document):
            single = pb.EmbedRequest(input=requests.text_input(texts), options=settings)
            return decode(self._call(self._embedding.Embed, single, timeout).embedding)
        inputs = [requests.text_input(text) for text in cast(Sequence[Text], texts)]
        gathered = Gathered(len(inputs), settings, self.model())
        method = self._embedding.BatchEmbed
        waiting: deque[tuple[slice, pb.BatchEmbedRequest, Any]] = deque()
        slices = requests.request_slices(inputs, self.model().limits)
        try:
            for part in itertools.chain(slices, [None] * CALLS_IN_FLIGHT):
                if part is not None:
                    request = pb.BatchEmbedRequest(inputs=inputs[part], options=settings)
                    future = method.future(request, timeout=timeout, metadata=self._metadata)
                    waiting.append((part, request, future))
                if waiting and (part is None or len(waiting) >= CALLS_IN_FLIGHT):
                    part, request, future = waiting.popleft()
                    gathered.place(part, self._call(method, request, timeout, future))
        finally:
            for _, _, future in waiting:
                future.cancel()
        return gathered.vectors()

    @overload
    def embed_iter(
        self,
        texts: Iterable[Text],
        *,
        on_error: Literal["raise"] = ...,
        on_tokens: OnTokens = ...,
        **options: Any,
    ) -> Iterator[Vector]: ...
    @overload
    def embed_iter(
        self,
        texts: Iterable[Text],
        *,
        on_error: Literal["return"],
        on_tokens: OnTokens = ...,
        **options: Any,
    ) -> Iterator[Answer]: ...
    def embed_iter(
        self,
        texts: Iterable[Text],
        *,
        on_error: Literal["raise", "return"] = "raise",
        on_tokens: OnTokens = None,
        **options: Any,
    ) -> Iterator[Answer]:
        """Vectors of any number of texts, in order, over one stream; for bulk work.

        Reads `texts`, in the caller's thread, only as far as the server gave credit, so it may be endless.
        Options as for `embed`. A text that fails raises its error and ends the iteration, or with
        on_error="return" is yielded as its error. `on_tokens` is told the tokens of each vector that
        comes. If the server goes away, what is unanswered is sent to the next one. Leaving the loop
        early, or closing the iterator, cancels what is under way.
        """
        opening = pb.EmbedStreamRequest(open=pb.StreamOpen(options=requests.options(**options)))
        return self._answers(iter(texts), opening, on_error, on_tokens)

    def _answers(
        self,
        texts: Iterator[Text],
        opening: pb.EmbedStreamRequest,
        on_error: str,
        on_tokens: OnTokens,
    ) -> Iterator[Answer]:
        exchange = Exchange(self.model().limits, on_tokens)
        failures = 0
        while True:
            try:
                for answer in self._one_stream(exchange, texts, opening):
                    failures = 0
                    if isinstance(answer, GemwireError) and on_error == "raise":
                        raise answer
                    yield answer
            except Unavailable as error:
                failures += 1
                pause = self._patience.pause(error, failures, float("inf"))
                if pause is None:
                    raise
                time.sleep(pause)
            if exchange.finished:
                return

    def _one_stream(
        self, exchange: Exchange, texts: Iterator[Text], opening: pb.EmbedStreamRequest
    ) -> Iterator[Answer]:
        """Sends and receives until everything is answered or the server goes away."""
        outbox: queue.SimpleQueue[pb.EmbedStreamRequest | None] = queue.SimpleQueue()
        inbox: queue.SimpleQueue[pb.EmbedStreamResponse | GemwireError | None] = queue.SimpleQueue()
        exchange.begin()
        outbox.put(opening)
        call = self._embedding.EmbedStream(iter(outbox.get, None), metadata=self._metadata)
        receiver = threading.Thread(
            target=_receive, args=(call, inbox), name="gemwire-receive", daemon=True
        )
        receiver.start()
        half_closed = False
        try:
            while True:
                if wanted := exchange.wanted:
                    messages = [
                        requests.text_input(text) for text in itertools.islice(texts, wanted)
                    ]
                    exchange.source_ended = len(messages) < wanted
                    exchange.add(messages)
                while (batch := exchange.next_batch()) is not None:
                    outbox.put(batch)
                if exchange.nothing_more_to_send and not half_closed:
                    outbox.put(None)
                    half_closed = True
                # With credit left there is more to read: look for answers, and do not wait for them.
                item = _next(inbox, 0.0 if exchange.wanted else self._timeout)
                if isinstance(item, pb.EmbedStreamResponse):
                    exchange.receive(item)
                    yield from exchange.ready()
                elif item is not EMPTY:
                    exchange.ended(item)
                    return
        finally:
            outbox.put(None)
            call.cancel()
            receiver.join()

    def similarity(
        self,
        source: Text,
        targets: Sequence[Text],
        *,
        task: str | None = None,
        target_task: str | None = None,
        dimensions: int | None = None,
        timeout: float | None = None,
    ) -> NDArray[np.float32]:
        """Cosine of each target with the source; float32 [n].

        `task` is the source's, and the targets' unless `target_task` is given: for search, use
        task="retrieval_query", target_task="retrieval_document". Any number of targets.
        """
        request = requests.similarity(source, task, target_task, dimensions)
        inputs = [requests.text_input(target) for target in targets]
        scores: list[float] = []
        for part in requests.request_slices(inputs, requests.less_one(self.model().limits)):
            del request.targets[:]
            request.targets.extend(inputs[part])
            response = self._call(
                self._embedding.ComputeSimilarity,
                request,
                self._timeout if timeout is None else timeout,
            )
            scores += response.scores
        return np.array(scores, dtype=np.float32)

    def tokenize(self, text: Text, **options: Any) -> NDArray[np.int32]:
        """The ids the model would see, prompt and special tokens included; int32 [tokens].

        Options as for `embed`. With truncation "error" a text over the window comes whole.
        """
        request = pb.TokenizeRequest(
            input=requests.text_input(text), options=requests.options(**options)
        )
        response = self._call(self._embedding.Tokenize, request, self._timeout)
        return np.array(response.ids, dtype=np.int32)

    def _call(self, method: Any, request: Any, timeout: float | None, begun: Any = None) -> Any:
        """The answer; asks again where the server says when. `begun` is a first try under way."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        for attempt in itertools.count(1):
            remaining = deadline - time.monotonic()
            try:
                if begun is not None and attempt == 1:
                    return begun.result()
                limit = None if timeout is None else remaining
                return method(request, timeout=limit, metadata=self._metadata)
            except grpc.RpcError as raw:
                error = from_rpc_error(raw)
            # UNAVAILABLE was tried again already, by the channel.
            pause = None
            if not isinstance(error, Unavailable):
                pause = self._patience.pause(error, attempt, remaining)
            if pause is None:
                raise error
            time.sleep(pause)


def _receive(call: Any, inbox: Any) -> None:
    """Until the stream ends: None after OK, else the error."""
    try:
        for message in call:
            inbox.put(message)
        inbox.put(None)
    except grpc.RpcError as error:
        inbox.put(from_rpc_error(error))


EMPTY = object()


def _next(inbox: Any, timeout: float | None) -> Any:
    """The next item; EMPTY if there is none yet and `timeout` is 0."""
    try:
        return inbox.get(timeout != 0.0, timeout or None)
    except queue.Empty:
        if timeout == 0.0:
            return EMPTY
        raise DeadlineExceeded(
            f"no answer for {timeout:g} s", code=grpc.StatusCode.DEADLINE_EXCEEDED
        ) from None
