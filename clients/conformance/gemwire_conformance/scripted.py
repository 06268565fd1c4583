"""The scripted server: plays the script of the case that a call's token names."""

import asyncio
import functools
import time
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message

from gemwire.v1 import embedding_pb2 as pb
from gemwire_conformance import messages
from gemwire_conformance.cases import Case
from gemwire_conformance.relay import Relay
from gemwire_conformance.script import PATIENCE_SECONDS, NotInScript, Run
from gemwire_conformance.stream import end, play

RECEIVE_BYTES = 64 * 1024 * 1024


class Scripted:
    """`address` is the relay's: every client is behind it, so that its connection can be cut."""

    def __init__(self, cases: dict[str, Case]) -> None:
        self._cases = cases
        self._runs: dict[str, Run] = {}
        self._tokens: dict[str, str] = {}  # the last one of each connection

    async def start(self) -> None:
        self._server = grpc.aio.server(options=[("grpc.max_receive_message_length", RECEIVE_BYTES)])
        self._server.add_generic_rpc_handlers(self._handlers())
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        self._relay = Relay(port)
        await self._relay.start()
        self.address = self._relay.address

    async def stop(self) -> None:
        await self._relay.stop()
        await self._server.stop(None)

    def not_played(self) -> list[str]:
        """The cases with a script that no call has named."""
        played = {run.case["name"] for run in self._runs.values()}
        return [
            name for name, case in self._cases.items() if "script" in case and name not in played
        ]

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        """Responses are bytes already, so that a script may send what is no message."""
        embedding: dict[str, Any] = {
            method: grpc.unary_unary_rpc_method_handler(
                functools.partial(self._unary, method), request.FromString
            )
            for method, request in messages.REQUESTS.items()
        }
        embedding["EmbedStream"] = grpc.stream_stream_rpc_method_handler(
            self._stream, pb.EmbedStreamRequest.FromString
        )
        models = {
            "GetModel": grpc.unary_unary_rpc_method_handler(
                self._model, pb.GetModelRequest.FromString, pb.GetModelResponse.SerializeToString
            )
        }
        return [
            grpc.method_handlers_generic_handler("gemwire.v1.EmbeddingService", embedding),
            grpc.method_handlers_generic_handler("gemwire.v1.ModelService", models),
        ]

    async def _model(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        token = self._token(context)
        if token == "verdict.connections":
            await self._check_connections(context)
        elif token.startswith("verdict."):
            if faults := await self._run(token.removeprefix("verdict.")).verdict():
                await _refuse(context, "; ".join(faults))
        else:
            differs = self._run(token).case.get("model", {})
            return pb.GetModelResponse(model=messages.model(differs))
        return pb.GetModelResponse(model=messages.model({}))

    async def _stream(self, requests: Any, context: Any) -> None:
        run = self._run(self._token(context))
        try:
            with run.call():
                step = run.take("EmbedStream").said
                _check_deadline(step, context)
                if step.get("cut"):
                    await self._cut(context)
                elif "status" in step:
                    await end(context, step["status"])
                else:
                    await play(step["stream"], requests, context, lambda: self._cut(context))
        except NotInScript as fault:
            await _refuse(context, str(fault))

    async def _unary(self, method: str, request: Message, context: Any) -> bytes:
        run = self._run(self._token(context))
        try:
            with run.call():
                step = run.take(method, request).said
                _check_deadline(step, context)
                if step.get("cut"):
                    await self._cut(context)
                if step.get("hang"):
                    await _hang(context)
                if "status" in step:
                    await end(context, step["status"])
                if "unreadable" in step:
                    return bytes.fromhex(step["unreadable"])
                return messages.response(method, request, step).SerializeToString()
        except NotInScript as fault:
            await _refuse(context, str(fault))

    async def _cut(self, context: Any) -> None:
        self._relay.cut(context.peer())
        await asyncio.sleep(
            PATIENCE_SECONDS
        )  # until gRPC sees the lost connection and cancels this

    async def _check_connections(self, context: Any) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while left := self._relay.open_peers - {context.peer()}:
            if time.monotonic() > until:
                tokens = [self._tokens.get(peer, "no call") for peer in left]
                await _refuse(context, f"connections are still open: {tokens}")
            await asyncio.sleep(0.05)

    def _token(self, context: Any) -> str:
        metadata = dict(context.invocation_metadata())
        token = str(metadata.get("authorization", "")).removeprefix("Bearer ")
        self._tokens[context.peer()] = token
        return token

    def _run(self, name: str) -> Run:
        if name not in self._runs:
            case = self._cases.get(name.rpartition(".")[0])
            if case is None:
                raise NotInScript(f"the token names no case: {name}")
            self._runs[name] = Run(case)
        return self._runs[name]


def _check_deadline(step: dict[str, Any], context: Any) -> None:
    if "deadline" in step:
        left = context.time_remaining()
        has_deadline = left is not None and left < 1e6
        if has_deadline != step["deadline"]:
            raise NotInScript(f"the call {'has a' if has_deadline else 'has no'} deadline")


async def _hang(context: Any) -> NoReturn:
    await asyncio.sleep(PATIENCE_SECONDS)  # ended by the client's cancellation or deadline
    raise NotInScript("the call was neither cancelled nor out of time")


async def _refuse(context: Any, why: str) -> NoReturn:
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"conformance: {why}")
    raise AssertionError("abort raises")
