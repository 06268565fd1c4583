"""The client for asyncio: the same methods as `Client`, awaited."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal, Unpack, overload

import grpc
import numpy as np
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client import requests, tokens
from gemwire_client.aio_stream import AsyncStream, Source, run_stream
from gemwire_client.client import CALLS_IN_FLIGHT
from gemwire_client.connection import AsyncConnection
from gemwire_client.errors import GemwireError
from gemwire_client.exchange import Answer, Exchange, OnTokens
from gemwire_client.gather import Gathered
from gemwire_client.patience import seconds
from gemwire_client.requests import Document, Model, Options, Text
from gemwire_client.tokens import Ids
from gemwire_client.vectors import Vector, decode


class AsyncClient:
    """Like `Client`, for the event loop it is made in; `interceptors` are gRPC's for asyncio."""

    def __init__(
        self,
        address: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        timeout: float | None = 60.0,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    ) -> None:
        self._connection = AsyncConnection(address, credentials, token, options, interceptors)
        self._embedding = self._connection.embedding
        self._timeout = seconds(timeout)
        self._model: Model | None = None

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the channel; calls under way fail."""
        await self._connection.close()

    async def model(self) -> Model:
        """The model of the server; the client asks for it once."""
        return await self._model_within(self._timeout)

    async def _model_within(self, timeout: float | None) -> Model:
        if self._model is None:
            method = self._connection.models.GetModel
            response = await self._call(method, pb.GetModelRequest(), timeout)
            self._model = Model.of(response.model)
        return self._model

    async def embed_query(
        self, text: Text, *, dimensions: int | None = None
    ) -> NDArray[np.float32]:
        """The vector of a search query; float32 [dimensions]."""
        options = requests.options(task="retrieval_query", dimensions=dimensions)
        return await self._embed_one(text, options, self._timeout)  # type: ignore[return-value]

    async def embed_documents(
        self,
        texts: Sequence[Text],
        *,
        titles: Sequence[str] | None = None,
        dimensions: int | None = None,
    ) -> NDArray[np.float32]:
        """The vectors of documents to search in; float32 [n, dimensions].

        `titles` has one for each text, "" for none; ValueError, before anything is sent, if it has not.
        """
        documents = requests.with_titles(texts, titles)
        return await self.embed(documents, task="retrieval_document", dimensions=dimensions)  # type: ignore[return-value]

    async def embed(
        self,
        texts: str | Document | Sequence[Text],
        *,
        titles: Sequence[str] | None = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Vector:
        """Vectors of texts, in order; see `Client.embed`."""
        settings = requests.options(**options)
        timeout = self._timeout if timeout is None else seconds(timeout)
        if isinstance(texts, str | Document):
            if titles is not None:
                raise ValueError("titles go with a list of texts; a single one is a Document")
            return await self._embed_one(texts, settings, timeout)
        inputs = [requests.text_input(text) for text in requests.with_titles(texts, titles)]
        model = await self._model_within(timeout)
        gathered = Gathered.vectors(len(inputs), settings, model)
        gate = asyncio.Semaphore(CALLS_IN_FLIGHT)

        async def request_part(part: slice) -> None:
            async with gate:
                request = pb.BatchEmbedRequest(inputs=inputs[part], options=settings)
                gathered.place(part, await self._call(self._embedding.BatchEmbed, request, timeout))

        parts = [asyncio.ensure_future(request_part(part)) for part in gathered.slices(inputs)]
        try:
            await asyncio.gather(*parts)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
        return gathered.answers()

    async def _embed_one(
        self, text: Text, options: pb.EmbedOptions, timeout: float | None
    ) -> Vector:
        request = pb.EmbedRequest(input=requests.text_input(text), options=options)
        response = await self._call(self._embedding.Embed, request, timeout)
        return decode(response.embedding)

    @overload
    def embed_iter(
        self,
        texts: Iterable[Text] | AsyncIterable[Text],
        *,
        on_error: Literal["raise"] = ...,
        on_tokens: OnTokens = ...,
        timeout: float | None = ...,
        **options: Unpack[Options],
    ) -> AsyncGenerator[Vector, None]: ...
    @overload
    def embed_iter(
        self,
        texts: Iterable[Text] | AsyncIterable[Text],
        *,
        on_error: Literal["return"],
        on_tokens: OnTokens = ...,
        timeout: float | None = ...,
        **options: Unpack[Options],
    ) -> AsyncGenerator[Answer, None]: ...
    def embed_iter(
        self,
        texts: Iterable[Text] | AsyncIterable[Text],
        *,
        on_error: Literal["raise", "return"] = "raise",
        on_tokens: OnTokens = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[Answer, None]:
        """Vectors of any number of texts, in order, over one stream; see `Client.embed_iter`.

        Leaving an `async for` early does not close an asynchronous iterator at once: wrap it in
        `contextlib.aclosing` to cancel what is under way there and then.
        """
        answers = self._answers(texts, options, on_tokens, timeout, ordered=True)
        return _values(answers, on_error)

    def embed_as_completed(
        self,
        texts: Iterable[Text] | AsyncIterable[Text],
        *,
        on_tokens: OnTokens = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[tuple[int, Answer], None]:
        """The index of a text and its vector or error, as answered; see `Client.embed_as_completed`."""
        return self._answers(texts, options, on_tokens, timeout, ordered=False)

    def _answers(
        self,
        texts: Iterable[Text] | AsyncIterable[Text],
        options: Options,
        on_tokens: OnTokens,
        timeout: float | None,
        *,
        ordered: bool,
    ) -> AsyncGenerator[tuple[int, Answer], None]:
        """Checks the arguments, and answers over one stream after the other."""
        opening = pb.EmbedStreamRequest(open=pb.StreamOpen(options=requests.options(**options)))
        requests.check_several(texts)
        source = texts if isinstance(texts, AsyncIterable) else _in_turns(texts)
        timeout = self._timeout if timeout is None else seconds(timeout)
        return self._over_streams(aiter(source), opening, on_tokens, timeout, ordered=ordered)

    async def _over_streams(
        self,
        texts: AsyncIterator[Text],
        opening: pb.EmbedStreamRequest,
        on_tokens: OnTokens,
        timeout: float | None,
        *,
        ordered: bool,
    ) -> AsyncGenerator[tuple[int, Answer], None]:
        limits = (await self._model_within(timeout)).limits
        patience = self._connection.patience
        exchange = Exchange(limits, patience, on_tokens, timeout, ordered=ordered)
        source = Source(exchange, texts)
        try:
            while True:
                call = AsyncStream(self._connection, source.wake)
                stream = run_stream(exchange, source, call, opening, timeout)
                async with aclosing(stream) as answers:
                    async for answer in answers:
                        yield answer
                pause = exchange.ended(call.error)
                if exchange.finished:
                    return
                await asyncio.sleep(pause)
                exchange.begin()
        finally:
            await source.close()

    async def similarity(
        self,
        source: Text,
        targets: Sequence[Text],
        *,
        task: str | int | None = None,
        target_task: str | int | None = None,
        dimensions: int | None = None,
        timeout: float | None = None,
    ) -> NDArray[np.float32]:
        """The cosine of each target with the source; float32 [n]. See `Client.similarity`."""
        requests.check_several(targets)
        request = requests.similarity(source, task, target_task, dimensions)
        inputs = [requests.text_input(target) for target in targets]
        timeout = self._timeout if timeout is None else seconds(timeout)
        gathered = Gathered.scores(len(inputs), await self._model_within(timeout))
        for part in gathered.slices(inputs):
            del request.targets[:]
            request.targets.extend(inputs[part])
            response = await self._call(self._embedding.ComputeSimilarity, request, timeout)
            gathered.place(part, response)
        return gathered.answers()  # type: ignore[return-value]

    async def tokenize(self, text: Text, **options: Unpack[Options]) -> NDArray[np.int32]:
        """The token ids that the model gets; int32 [tokens]. See `Client.tokenize`."""
        request = tokens.tokenize(text, options)
        response = await self._call(self._embedding.Tokenize, request, self._timeout)
        return tokens.ids_of(response)

    async def token_spans(
        self, text: str | Document, **options: Unpack[Options]
    ) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
        """Token ids, int32 [tokens], and their spans, uint32 [tokens, 2]. See `Client.token_spans`."""
        request = tokens.tokenize_with_spans(text, options)
        response = await self._call(self._embedding.Tokenize, request, self._timeout)
        return tokens.ids_of(response), tokens.spans_of(response)

    async def detokenize(self, ids: Ids, *, keep_special_tokens: bool = False) -> str:
        """The text of token ids. See `Client.detokenize`."""
        request = tokens.detokenize(ids, keep_special_tokens=keep_special_tokens)
        response: pb.DetokenizeResponse = await self._call(
            self._embedding.Detokenize, request, self._timeout
        )
        return response.text

    async def _call(self, method: Any, request: Any, timeout: float | None) -> Any:
        return await self._connection.call(method, request, self._connection.tries(timeout))


async def _in_turns(texts: Iterable[Text]) -> AsyncIterator[Text]:
    for text in texts:
        yield text


async def _values(
    answers: AsyncGenerator[tuple[int, Answer], None], on_error: str
) -> AsyncGenerator[Answer, None]:
    """The answers without their indices; raises the first error unless errors are to be returned."""
    async with aclosing(answers):
        async for _, answer in answers:
            if isinstance(answer, GemwireError) and on_error == "raise":
                raise answer
            yield answer
