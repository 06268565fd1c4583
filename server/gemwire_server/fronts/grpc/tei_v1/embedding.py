"""The methods of the service Embed."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

from gemwire_compat import tei_pb2 as pb
from gemwire_server.config.options import ServerConfig
from gemwire_server.dialects.tei.embedding import EmbeddedTokens, Embedding
from gemwire_server.dialects.tei.metadata import Metadata
from gemwire_server.dialects.tei.requests import Checked, Checks
from gemwire_server.errors import GemwireError
from gemwire_server.fronts.grpc.tei_v1.messages import (
    BESIDE_ROW,
    embed_all_response,
    embed_responses,
    read_embed,
    read_embed_all,
)
from gemwire_server.fronts.grpc.tei_v1.stream import Group, Item
from gemwire_server.service.call import Call
from gemwire_server.service.results import Timing, Tokenized
from gemwire_server.service.service import Service
from gemwire_server.service.stream_flow import groups
from gemwire_server.service.vectors import cut
from gemwire_server.text.tokenizer import Encoded


class EmbedService:
    """Embed, EmbedAll, and what their streams do with a group of requests."""

    def __init__(self, service: Service, config: ServerConfig, checks: Checks) -> None:
        self._service = service
        self._checks = checks
        self._embedding = Embedding(service, checks)
        self._group_tokens = min(config.max_batch_tokens, config.max_queue_tokens)
        self._token_bytes = 4 * service.model.hidden_size + BESIDE_ROW

    async def embed(self, request: pb.EmbedRequest, call: Call) -> bytes:
        options = read_embed(request)
        embedded = await self._embedding.embed([request.inputs], options, call)
        call.headers = embedded.metadata.headers()
        (response,) = embed_responses(embedded.vectors, [embedded.metadata])
        return response

    async def embed_all(self, request: pb.EmbedAllRequest, call: Call) -> bytes:
        embedded = await self._rows(request, call)
        call.headers = embedded.metadata.headers()
        (rows,) = embedded.rows
        return embed_all_response(rows, embedded.metadata)

    async def _rows(self, request: pb.EmbedAllRequest, call: Call) -> EmbeddedTokens:
        options = read_embed_all(request)
        return await self._embedding.embed_all(
            [request.inputs], options, call, token_bytes=self._token_bytes
        )

    async def embed_group(self, group: Group) -> None:
        """Answers requests of EmbedStream. Neighbours with the same options are computed together."""
        checked: list[tuple[Item, Checked]] = []
        for item in group.items:
            try:
                options = read_embed(item.request)
                checked.append((item, self._checks.check(item.request.inputs, options)))
            except GemwireError as error:
                item.answer = error.forgetting()
                break  # nothing after it is answered
        runs = [list(run) for _, run in groupby(checked, lambda each: each[1].options)]
        await asyncio.gather(*(self._embed_run(run, group) for run in runs))

    async def _embed_run(self, run: Sequence[tuple[Item, Checked]], group: Group) -> None:
        """Answers requests with the same options."""
        began = time.monotonic()
        options = run[0][1].options
        tokenized: list[Tokenized] = await self._service.embedder.tokenize(
            [checked.input for _, checked in run], options, group.call, ["inputs"] * len(run)
        )
        for i, (_, checked) in enumerate(run):
            if checked.late is not None and isinstance(tokenized[i], Encoded):
                tokenized[i] = checked.late
        tokenize_seconds = (time.monotonic() - began) / len(run)

        async def answer(part: slice) -> None:
            results, steps = await group.flow.compute(tokenized[part], options, "inputs")
            counts = results.token_counts.tolist()
            metadata = [
                Metadata.of(
                    checked.characters, [count], Timing.of(item.arrived, tokenize_seconds, steps)
                )
                for (item, checked), count in zip(run[part], counts, strict=True)
            ]
            answers = embed_responses(cut(results.vectors, options.vectors), metadata)
            for i, (item, _) in enumerate(run[part]):
                item.answer = results.errors.get(i) or answers[i]
            group.answered()

        await asyncio.gather(*map(answer, groups(tokenized, self._group_tokens, len(run))))

    async def embed_all_group(self, group: Group) -> None:
        """Answers requests of EmbedAllStream."""

        async def answer(item: Item) -> None:
            # The times of an answer begin with its request, and those of a call with the stream.
            call = replace(group.call, arrived=item.arrived, texts=0, tokens=0)
            try:
                embedded = await group.flow.patiently(partial(self._rows, item.request, call))
                item.answer = embed_all_response(embedded.rows[0], embedded.metadata)
            except GemwireError as error:
                item.answer = error.forgetting()
            group.call.texts += call.texts
            group.call.tokens += call.tokens
            group.answered()

        await asyncio.gather(*map(answer, group.items))
