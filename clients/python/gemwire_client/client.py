"""The client for threads: plain calls, numpy in and out."""

import itertools
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import Any, Literal, Unpack, overload

import grpc
import numpy as np
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client import requests, tokens
from gemwire_client.connection import Connection, Interceptor
from gemwire_client.errors import GemwireError
from gemwire_client.exchange import Answer, Exchange, OnTokens
from gemwire_client.gather import Gathered
from gemwire_client.patience import Tries, seconds
from gemwire_client.requests import Document, Model, Options, Text
from gemwire_client.stream import Stream, run_stream
from gemwire_client.tokens import Ids
from gemwire_client.vectors import Vector, decode

CALLS_IN_FLIGHT = 4  # of one `embed` that takes several requests


class Client:
    """Calls a gemwire server at `address`: "host:port", "dns:///name:port" or "unix:/path".

    The channel is plain unless `credentials` are given. `token` is sent as a bearer token. `timeout` is
    for each call in seconds, and for `embed_iter` the longest wait for an answer; None, and for one method
    float("inf"), waits for ever.
    `interceptors` see every call, the first one first: gRPC's own, or functions that wrap the channel.
    A call that was lost with its connection, or behind a proxy, is made again within `timeout`. Every
    method raises a GemwireError. Threads may share a client.
    """

    def __init__(
        self,
        address: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        timeout: float | None = 60.0,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        self._connection = Connection(address, credentials, token, options, interceptors)
        self._embedding = self._connection.embedding
        self._timeout = seconds(timeout)
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
        self._connection.close()

    def model(self) -> Model:
        """The model of the server; the client asks for it once."""
        return self._model_within(self._timeout)

    def _model_within(self, timeout: float | None) -> Model:
        if self._model is None:
            method = self._connection.models.GetModel
            response = self._call(method, pb.GetModelRequest(), timeout)
            self._model = Model.of(response.model)
        return self._model

    def embed_query(self, text: Text, *, dimensions: int | None = None) -> NDArray[np.float32]:
        """The vector of a search query; float32 [dimensions]."""
        options = requests.options(task="retrieval_query", dimensions=dimensions)
        return self._embed_one(text, options, self._timeout)  # type: ignore[return-value]

    def embed_documents(
        self,
        texts: Sequence[Text],
        *,
        titles: Sequence[str] | None = None,
        dimensions: int | None = None,
    ) -> NDArray[np.float32]:
        """The vectors of documents to search in; float32 [n, dimensions].

        `titles` has one title for each text, "" for none. Raises ValueError, before anything is sent, for
        another number of titles.
        """
        documents = requests.with_titles(texts, titles)
        return self.embed(documents, task="retrieval_document", dimensions=dimensions)  # type: ignore[return-value]

    def embed(
        self,
        texts: str | Document | Sequence[Text],
        *,
        titles: Sequence[str] | None = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Vector:
        """Vectors of texts, in order: [n, dimensions], or [dimensions] of a single str or Document.

        float32, but for the encodings "int8_fixed", "ubinary", "binary" and "ubinary_lsb", which come as
        int8 or uint8 for an index: see `Options`. Any number of texts: what is over the server's limits is
        sent in several requests, and `timeout` is for each. If some texts fail, raises the error of the
        first of them: its `index` says which, its `errors` has all. For partial results see `embed_iter`.
        """
        settings = requests.options(**options)
        timeout = self._timeout if timeout is None else seconds(timeout)
        if isinstance(texts, str | Document):
            if titles is not None:
                raise ValueError("titles go with a list of texts; a single one is a Document")
            return self._embed_one(texts, settings, timeout)
        inputs = [requests.text_input(text) for text in requests.with_titles(texts, titles)]
        gathered = Gathered.vectors(len(inputs), settings, self._model_within(timeout))
        method = self._embedding.BatchEmbed
        waiting: deque[tuple[slice, pb.BatchEmbedRequest, Tries, Any]] = deque()
        slices = gathered.slices(inputs)
        try:
            for part in itertools.chain(slices, [None] * CALLS_IN_FLIGHT):
                if part is not None:
                    request = pb.BatchEmbedRequest(inputs=inputs[part], options=settings)
                    tries = self._connection.tries(timeout)
                    future = self._connection.begin(method, request, tries)
                    waiting.append((part, request, tries, future))
                if waiting and (part is None or len(waiting) >= CALLS_IN_FLIGHT):
                    part, request, tries, future = waiting[0]
                    response = self._connection.call(method, request, tries, future)
                    waiting.popleft()
                    gathered.place(part, response)
        finally:
            for *_, future in waiting:
                future.cancel()
        return gathered.answers()

    def _embed_one(self, text: Text, options: pb.EmbedOptions, timeout: float | None) -> Vector:
        request = pb.EmbedRequest(input=requests.text_input(text), options=options)
        response = self._call(self._embedding.Embed, request, timeout)
        return decode(response.embedding)

    @overload
    def embed_iter(
        self,
        texts: Iterable[Text],
        *,
        on_error: Literal["raise"] = ...,
        on_tokens: OnTokens = ...,
        timeout: float | None = ...,
        **options: Unpack[Options],
    ) -> Generator[Vector, None, None]: ...
    @overload
    def embed_iter(
        self,
        texts: Iterable[Text],
        *,
        on_error: Literal["return"],
        on_tokens: OnTokens = ...,
        timeout: float | None = ...,
        **options: Unpack[Options],
    ) -> Generator[Answer, None, None]: ...
    def embed_iter(
        self,
        texts: Iterable[Text],
        *,
        on_error: Literal["raise", "return"] = "raise",
        on_tokens: OnTokens = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Generator[Answer, None, None]:
        """Vectors [dimensions] of any number of texts, in order, over one stream; for bulk work.

        Reads `texts`, in the caller's thread, only as far as the server gave credit, so it may be endless.
        A text that fails raises its error and ends the iteration, or with on_error="return" is yielded as
        its error. `on_tokens` gets the token count of each vector as it arrives. If the server goes away,
        what is unanswered is sent to the next one. `timeout` is for the longest wait for an answer.
        Closing the iterator cancels what is under way. Answers are handed out between reads of `texts`:
        while it blocks nothing is yielded, so for a live feed use `AsyncClient`.
        """
        answers = self._answers(texts, options, on_tokens, timeout, ordered=True)
        return _values(answers, on_error)

    def embed_as_completed(
        self,
        texts: Iterable[Text],
        *,
        on_tokens: OnTokens = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Generator[tuple[int, Answer], None, None]:
        """The index of a text and its vector [dimensions] or its error, as the server answers.

        As `embed_iter`, but no answer waits for those of earlier texts.
        """
        return self._answers(texts, options, on_tokens, timeout, ordered=False)

    def _answers(
        self,
        texts: Iterable[Text],
        options: Options,
        on_tokens: OnTokens,
        timeout: float | None,
        *,
        ordered: bool,
    ) -> Generator[tuple[int, Answer], None, None]:
        """Checks the arguments, and answers over one stream after the other."""
        opening = pb.EmbedStreamRequest(open=pb.StreamOpen(options=requests.options(**options)))
        timeout = self._timeout if timeout is None else seconds(timeout)
        requests.check_several(texts)
        return self._over_streams(iter(texts), opening, on_tokens, timeout, ordered=ordered)

    def _over_streams(
        self,
        texts: Iterator[Text],
        opening: pb.EmbedStreamRequest,
        on_tokens: OnTokens,
        timeout: float | None,
        *,
        ordered: bool,
    ) -> Generator[tuple[int, Answer], None, None]:
        connection = self._connection
        limits = self._model_within(timeout).limits
        exchange = Exchange(limits, connection.patience, on_tokens, timeout, ordered=ordered)
        while True:
            call = Stream(connection)
            with closing(run_stream(exchange, texts, call, opening, timeout)) as answers:
                yield from answers
            pause = exchange.ended(call.error)
            if exchange.finished:
                return
            time.sleep(pause)
            exchange.begin()

    def similarity(
        self,
        source: Text,
        targets: Sequence[Text],
        *,
        task: str | int | None = None,
        target_task: str | int | None = None,
        dimensions: int | None = None,
        timeout: float | None = None,
    ) -> NDArray[np.float32]:
        """The cosine of each target with the source; float32 [n].

        `task` is the source's, and the targets' unless `target_task` is given: for search, use
        task="retrieval_query", target_task="retrieval_document". Any number of targets: what is over the
        server's limits is sent in several requests, and `timeout` is for each. Raises the source's error,
        or as `embed` if some targets fail.
        """
        requests.check_several(targets)
        request = requests.similarity(source, task, target_task, dimensions)
        inputs = [requests.text_input(target) for target in targets]
        timeout = self._timeout if timeout is None else seconds(timeout)
        gathered = Gathered.scores(len(inputs), self._model_within(timeout))
        for part in gathered.slices(inputs):
            del request.targets[:]
            request.targets.extend(inputs[part])
            response = self._call(self._embedding.ComputeSimilarity, request, timeout)
            gathered.place(part, response)
        return gathered.answers()  # type: ignore[return-value]

    def tokenize(self, text: Text, **options: Unpack[Options]) -> NDArray[np.int32]:
        """The token ids that the model gets, with prompt and special tokens; int32 [tokens].

        Options as for `embed`. With truncation "error" a text over the window comes whole.
        """
        request = tokens.tokenize(text, options)
        response = self._call(self._embedding.Tokenize, request, self._timeout)
        return tokens.ids_of(response)

    def token_spans(
        self, text: str | Document, **options: Unpack[Options]
    ) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
        """The token ids as of `tokenize`, int32 [tokens], and their spans, uint32 [tokens, 2].

        A span is the begin and end of the bytes that a token stands for in `text.encode()`; 0 and 0 for a
        special token, and for one of the prompt or the title. Raises TypeError for token ids in place of a
        text, and ValueError for a server that is older than spans.
        """
        request = tokens.tokenize_with_spans(text, options)
        response = self._call(self._embedding.Tokenize, request, self._timeout)
        return tokens.ids_of(response), tokens.spans_of(response)

    def detokenize(self, ids: Ids, *, keep_special_tokens: bool = False) -> str:
        """The text of token ids. Bytes that are no UTF-8 read as U+FFFD; "▁" in a text reads as a space."""
        request = tokens.detokenize(ids, keep_special_tokens=keep_special_tokens)
        response: pb.DetokenizeResponse = self._call(
            self._embedding.Detokenize, request, self._timeout
        )
        return response.text

    def _call(self, method: Any, request: Any, timeout: float | None) -> Any:
        return self._connection.call(method, request, self._connection.tries(timeout))


def _values(
    answers: Generator[tuple[int, Answer], None, None], on_error: str
) -> Generator[Answer, None, None]:
    """The answers without their indices; raises the first error unless errors are to be returned."""
    with closing(answers):
        for _, answer in answers:
            if isinstance(answer, GemwireError) and on_error == "raise":
                raise answer
            yield answer
