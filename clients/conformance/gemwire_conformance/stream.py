"""Plays the steps of one EmbedStream."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict

from gemwire.v1 import embedding_pb2 as pb
from gemwire_conformance import messages
from gemwire_conformance.script import PATIENCE_SECONDS, NotInScript

# A client that has credit and texts sends them within this time, even on a busy machine's two cores;
# where it takes longer, texts come in more and smaller groups, and no step fails.
GATHER_SECONDS = 0.05
TEXTS_PER_MESSAGE = 64
OPENED = {
    "modelRevision": messages.REVISION,
    "maxInflightInputs": 16,
    "maxInputsPerMessage": 8,
    "maxRequestBytes": 200_000,
}


async def play(
    steps: list[dict[str, Any]], requests: Any, context: Any, cut: Callable[[], Awaitable[None]]
) -> None:
    """Plays the steps in order. Raises NotInScript for what the client does and they do not have."""
    stream = _Stream(requests, context)
    try:
        for number, step in enumerate(steps):
            try:
                if "cut" in step:
                    await cut()
                await stream.play(step)
            except asyncio.CancelledError:
                # A client that has got the last message may cancel before this step knows that it is sent.
                if any("cancelled" in part for part in steps[number : number + 2]) or "cut" in step:
                    raise
                raise NotInScript(f"the client cancelled at step {number}, {step}") from None
    finally:
        await stream.close()


async def end(context: Any, said: dict[str, Any]) -> None:
    """Ends a call with a status. Returns only for OK."""
    made = messages.status(said)
    code = next(code for code in grpc.StatusCode if code.value[0] == made.code)
    if code is not grpc.StatusCode.OK:
        details = (("grpc-status-details-bin", made.SerializeToString()),) if made.details else ()
        await context.abort(code, made.message, details)


class _Stream:
    """A stream under way: `due` is the id that the next text has, `credit` what may be sent more."""

    def __init__(self, requests: Any, context: Any) -> None:
        self._context = context
        self._inbox: asyncio.Queue[pb.EmbedStreamRequest | None] = asyncio.Queue()
        self._reader = asyncio.ensure_future(self._read(requests))
        self._due = 0
        self._credit = 0
        self._per_message = 0
        self._inputs: list[pb.EmbedInput] = []  # since the last step

    async def close(self) -> None:
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    async def play(self, step: dict[str, Any]) -> None:
        match step:
            case {"open": said}:
                await self._open(said)
            case {"opened": said}:
                opened = ParseDict(OPENED | said, pb.StreamOpened())
                self._credit = opened.max_inflight_inputs
                self._per_message = min(TEXTS_PER_MESSAGE, opened.max_inputs_per_message)
                await self._write(pb.EmbedStreamResponse(opened=opened))
            case {"results": said}:
                results = ParseDict(said, pb.StreamResults())
                self._credit += results.granted_inputs
                await self._write(pb.EmbedStreamResponse(results=results))
            case {"go_away": said}:
                away = ParseDict(said, pb.StreamGoAway())
                await self._write(pb.EmbedStreamResponse(go_away=away))
            case {"unknown": number}:
                await self._write(messages.unknown(number))
            case {"unreadable": encoded}:
                await self._context.write(bytes.fromhex(encoded))
            case {"texts": texts}:
                await self._texts(texts, step)
            case {"quiet": seconds}:
                with contextlib.suppress(TimeoutError):
                    message = await asyncio.wait_for(self._inbox.get(), seconds)
                    raise NotInScript(f"a message where none is due: {message}")
            case {"answer": ids}:
                answers = [pb.StreamResult(id=i, embedding=messages.vector(i)) for i in ids]
                await self._results(answers, step)
            case {"fail": ids, "status": said}:
                error = messages.status(said)
                await self._results([pb.StreamResult(id=i, error=error) for i in ids], step)
            case {"serve": count}:
                self._due = step.get("from", self._due)
                await self._serve(count)
            case {"half_close": _}:
                if (message := await self._next()) is not None:
                    raise NotInScript(f"a message where the half-close is due: {message}")
            case {"cancelled": _}:
                await asyncio.sleep(PATIENCE_SECONDS)
                raise NotInScript("the client did not cancel")
            case {"hang": seconds}:
                await asyncio.sleep(seconds)
            case {"status": said}:
                await end(self._context, said)
            case _:
                raise ValueError(f"unknown step {step}")

    async def _read(self, requests: Any) -> None:
        async for message in requests:
            self._inbox.put_nowait(message)
        self._inbox.put_nowait(None)

    async def _next(self) -> pb.EmbedStreamRequest | None:
        """The client's next message; None at its half-close."""
        try:
            return await asyncio.wait_for(self._inbox.get(), PATIENCE_SECONDS)
        except TimeoutError:
            raise NotInScript("the client sent nothing") from None

    async def _open(self, said: dict[str, Any]) -> None:
        message = await self._next()
        if message is None or message.WhichOneof("payload") != "open":
            raise NotInScript(f"not `open`: {message}")
        if not messages.same(message.open, said):
            raise NotInScript(f"not the `open` of the script: {message.open}")

    async def _batch(self) -> list[int]:
        """The ids of the next message."""
        message = await self._next()
        if message is None or not message.batch.inputs:
            raise NotInScript(f"{message} where texts are due")
        count = len(message.batch.inputs)
        if count > self._per_message:
            raise NotInScript(f"{count} texts in a message")
        self._inputs += message.batch.inputs
        self._credit -= count
        if self._credit < 0:
            raise NotInScript(f"{-self._credit} texts over the credit")
        return list(range(message.batch.first_id, message.batch.first_id + count))

    async def _texts(self, texts: int | list[int], step: dict[str, Any]) -> None:
        if isinstance(texts, int):
            begin = step.get("from", self._due)
            texts = list(range(begin, begin + texts))
        self._per_message = step.get("per_message", self._per_message)
        self._inputs.clear()
        got: list[int] = []
        while len(got) < len(texts):
            got += await self._batch()
        if got != texts:
            raise NotInScript(f"texts {got} where {texts} are due")
        if "inputs" in step:
            expected = [ParseDict(said, pb.EmbedInput()) for said in step["inputs"]]
            if self._inputs != expected:
                raise NotInScript(f"not the inputs of the script: {self._inputs}")
        self._due = got[-1] + 1

    async def _serve(self, count: int) -> None:
        """Answers what has come when nothing more comes, the last text first."""
        answered = 0
        while answered < count:
            ids = await self._batch()
            with contextlib.suppress(TimeoutError):
                while answered + len(ids) < count and self._credit:
                    async with asyncio.timeout(GATHER_SECONDS):
                        ids += await self._batch()
            expected = list(range(self._due, self._due + len(ids)))
            if ids != expected:
                raise NotInScript(f"texts {ids} where {expected} are due")
            self._due += len(ids)
            answered += len(ids)
            results = [pb.StreamResult(id=i, embedding=messages.vector(i)) for i in reversed(ids)]
            await self._results(results, {})

    async def _results(self, results: list[pb.StreamResult], step: dict[str, Any]) -> None:
        granted = step.get("grant", len(results))
        self._credit += granted
        filled = pb.StreamResults(results=results, granted_inputs=granted)
        await self._write(pb.EmbedStreamResponse(results=filled))

    async def _write(self, message: pb.EmbedStreamResponse) -> None:
        await self._context.write(message.SerializeToString())
