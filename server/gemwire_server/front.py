"""The front: the gRPC server with its services, health and drain, before an engine."""

import asyncio
import contextlib
import logging
import os
import socket

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import OVERALL_HEALTH
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.config import ServerConfig
from gemwire_server.engine import Engine
from gemwire_server.rpc.embedder import Embedder
from gemwire_server.rpc.embedding import EmbeddingService
from gemwire_server.rpc.methods import Calls, Method
from gemwire_server.rpc.model import ModelService
from gemwire_server.rpc.stream import StreamLimits, StreamService
from gemwire_server.rpc.time_limit import within
from gemwire_server.rpc.validate import Served
from gemwire_server.tokenizer import Tokenizer

log = logging.getLogger(__name__)

EMBEDDING = pb.DESCRIPTOR.services_by_name["EmbeddingService"]
MODEL = pb.DESCRIPTOR.services_by_name["ModelService"]
HEALTH_NAMES = (OVERALL_HEALTH, EMBEDDING.full_name, MODEL.full_name)
# For the last answers to leave; only who watches the health service is still there then.
SENDING_SECONDS = 1.0
ABANDON_SECONDS = 5.0


class Front:
    """A gRPC server: `bind`, `open`, `set_serving`, then either `drain` or `stop`."""

    def __init__(self, config: ServerConfig, *, share_port: bool = False) -> None:
        """`share_port` lets other processes listen on the same address."""
        self.config = config
        self.address = ""
        self._calls = Calls(config.max_concurrent_calls)
        self._engine: Engine | None = None
        self._embedder: Embedder | None = None
        self._streams: StreamService | None = None
        self._health = health_aio.HealthServicer()
        self._server = grpc.aio.server(
            options=[
                # Else a taken port is an error, not a share of its connections.
                ("grpc.so_reuseport", int(share_port)),
                ("grpc.max_receive_message_length", config.max_request_bytes),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                # Below what clients ping with, or they are sent away for pinging too much.
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
        )

    async def bind(self) -> None:
        """Takes the configured address; raises OSError if it cannot be had."""
        await self.set_serving(False)
        self.address = _bind(self._server, self.config.address)

    async def open(
        self, engine: Engine, tokenizer: Tokenizer, served: Served, model: pb.Model
    ) -> None:
        """Takes calls; who asks the health service is still told to wait."""
        config = self.config
        self._engine = engine
        self._embedder = embedder = Embedder(
            engine,
            tokenizer,
            served,
            tokenizer_threads=config.tokenizer_threads or max(1, (os.cpu_count() or 2) - 1),
        )
        unary = EmbeddingService(
            embedder, revision=model.revision, max_inputs=config.max_inputs_per_request
        )
        limits = StreamLimits(
            max_inputs=config.max_inputs_per_request,
            max_inflight_inputs=config.max_stream_inflight_inputs,
            group_tokens=min(config.max_batch_tokens, config.max_queue_tokens),
        )
        self._streams = StreamService(embedder, revision=model.revision, limits=limits)
        embedding: dict[str, Method] = {
            "Embed": unary.embed,
            "BatchEmbed": unary.batch_embed,
            "EmbedStream": self._streams.embed_stream,
            "ComputeSimilarity": unary.compute_similarity,
            "Tokenize": unary.tokenize,
        }
        for name in embedding.keys() - {"EmbedStream"}:
            embedding[name] = within(config.call_seconds, embedding[name])
        models = ModelService(model, served)
        methods: dict[str, Method] = {
            "GetModel": models.get_model,
            "ListModels": models.list_models,
        }
        self._server.add_generic_rpc_handlers(
            (self._calls.handler(EMBEDDING, embedding), self._calls.handler(MODEL, methods))
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if config.reflection:
            names = (*HEALTH_NAMES[1:], HEALTH_SERVICE, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        await self._server.start()

    async def warm_up(self) -> None:
        """One text the whole way, tokenizer and engine included; raises what it fails with."""
        assert self._embedder is not None
        await self._embedder.warm_up()

    async def set_serving(self, serving: bool) -> None:
        """What the health service says of every service; after `drain` has begun, NOT_SERVING stays."""
        answer = health_pb2.HealthCheckResponse
        for name in HEALTH_NAMES:
            await self._health.set(name, answer.SERVING if serving else answer.NOT_SERVING)

    async def drain(self, lame_duck_seconds: float) -> None:
        """Is NOT_SERVING, takes no new work, answers what it accepted, and stops.

        Calls are told to go elsewhere for at least so long: grpc answers one that arrives in the moment
        it stops with CANCELLED, which no client takes for an invitation to try another server.
        """
        await self._health.enter_graceful_shutdown()
        self._calls.close()
        if self._streams is not None:
            self._streams.drain()
        try:
            async with asyncio.timeout(self.config.drain_seconds):
                await asyncio.sleep(lame_duck_seconds)
                await self._calls.wait_idle()
        except TimeoutError:
            log.warning(
                "after %g s: what is not computed yet is refused", self.config.drain_seconds
            )
            await self._abandon()
        await self.stop()

    async def _abandon(self) -> None:
        """Says of what still waits that it was not computed, so that callers know to ask elsewhere."""
        if self._engine is not None:
            self._engine.abandon()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ABANDON_SECONDS):  # for the step that runs, and to say so
                await self._calls.wait_idle()

    async def stop(self) -> None:
        """Ends what is left: open calls, the threads that tokenize."""
        # A handler that has returned is not yet an answer that was sent.
        await self._server.stop(SENDING_SECONDS)
        if self._embedder is not None:
            await asyncio.to_thread(self._embedder.close)


def _bind(server: grpc.aio.Server, address: str) -> str:
    """Takes the address; the one taken, with the port that 0 became."""
    if address.startswith("unix:") and _answers(address.removeprefix("unix:")):
        raise OSError(f"cannot listen on {address}: another server does")
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if not port:
        raise OSError(f"cannot listen on {address}: it is taken, or not an address of this machine")
    if address.startswith("unix:"):
        return address
    return f"{address.rpartition(':')[0]}:{port}"


def _answers(path: str) -> bool:
    """Whether somebody listens on the socket; gRPC would unlink it and take its place."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0
