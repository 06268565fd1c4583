"""The front: the gRPC server with its services, health and drain, before an engine."""

import asyncio
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

import grpc

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server.config.options import ServerConfig, is_local
from gemwire_server.engine.interface import Engine
from gemwire_server.fronts.grpc.admin import AdminServer
from gemwire_server.fronts.grpc.gemwire_v1.embedding import EmbeddingService
from gemwire_server.fronts.grpc.gemwire_v1.messages import ServedModel
from gemwire_server.fronts.grpc.gemwire_v1.model import ModelService
from gemwire_server.fronts.grpc.gemwire_v1.stream import StreamLimits, StreamService
from gemwire_server.fronts.grpc.gemwire_v1.wire import VectorFormat, results_that_fit
from gemwire_server.fronts.grpc.handlers import CallGate, Method
from gemwire_server.fronts.grpc.health import Health
from gemwire_server.fronts.grpc.listening import bind
from gemwire_server.fronts.grpc.reflection import add_reflection
from gemwire_server.fronts.grpc.time_limit import with_default_deadline
from gemwire_server.observe.metrics import CallMetrics
from gemwire_server.security import open_certificates, open_tokens
from gemwire_server.service.call_observer import CallObserver
from gemwire_server.service.embedder import Embedder
from gemwire_server.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from gemwire_server.observe.tracing import Tracing

log = logging.getLogger(__name__)

EMBEDDING = pb.DESCRIPTOR.services_by_name["EmbeddingService"]
MODEL = pb.DESCRIPTOR.services_by_name["ModelService"]
# For the last answers to leave; only who watches the health service is still there then.
SENDING_SECONDS = 1.0
ABANDON_SECONDS = 5.0
# Clients ping every 10 seconds or more; one that pings oftener than this is sent away.
LEAST_PING_SECONDS = 5.0
# gRPC varies the age of a connection by a tenth: after this much of it, none takes new calls, and a stream
# that is told to go finds another. One that begins as late as that, and lives as long, is still waited for.
STREAM_AGE = 1.1
AGE_GRACE = 1.5
LAG_SECONDS = 0.1


class Front:
    """A gRPC server: `bind`, `open`, `set_serving`, then either `drain` or `stop`."""

    def __init__(
        self,
        config: ServerConfig,
        metrics: CallMetrics,
        *,
        share_port: bool = False,
    ) -> None:
        """`share_port` lets other processes listen on the same addresses.

        Raises ConfigError for certificates and tokens that cannot be used.
        """
        self.config = config
        self.address = ""
        self.is_serving = False
        self._draining = False
        self._health = Health(config.liveness_seconds)
        self._admin: AdminServer | None = None
        if config.admin_address:
            self._admin = AdminServer(
                config.admin_address,
                self._health,
                reflected=config.reflection,
                share_port=share_port,
            )
        self._certificates = open_certificates(config, metrics.bad_file)
        tokens = open_tokens(config, metrics.bad_file)
        self._watch = CallObserver(metrics, _tracing(config))
        self._calls = CallGate(
            config.max_concurrent_calls,
            config.max_inputs_per_request,
            config.max_response_bytes,
            self._watch,
            tokens,
        )
        self._timer: asyncio.Task[None] | None = None
        self._engine: Engine | None = None
        self._embedder: Embedder | None = None
        self._streams: StreamService | None = None
        self._server = grpc.aio.server(
            options=[
                # Else a taken port is an error, not a share of its connections.
                ("grpc.so_reuseport", int(share_port)),
                ("grpc.max_receive_message_length", config.max_request_bytes),
                # Else the window of a stream that is not read grows to what the line could carry: a client
                # that ignores its credit had 20 MB held here, and now 0.1 MB.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                # Below what clients ping with, or they are sent away for pinging too much. The header
                # calls it MIN_RECV_PING_INTERVAL; by that name gRPC ignores it.
                (
                    "grpc.http2.min_ping_interval_without_data_ms",
                    round(LEAST_PING_SECONDS * 1000),
                ),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.max_concurrent_streams", config.max_streams_per_connection),
                # The first is a limit that is enforced now and then, the second is the limit.
                ("grpc.max_metadata_size", config.max_metadata_bytes),
                ("grpc.absolute_max_metadata_size", config.max_metadata_bytes),
                *_age_options(config.max_connection_age),
            ],
        )

    async def bind(self) -> None:
        """Takes the configured addresses; raises OSError if they cannot be had."""
        await self._health.start()
        credentials = None
        if self._certificates is not None:
            credentials = self._certificates.credentials()
        elif self.config.tokens_file and not is_local(self.config.address):
            log.warning(
                "tokens on %s travel in clear: give --tls-cert and --tls-key, or put TLS before it",
                self.config.address,
            )
        self.address = bind(self._server, self.config.address, credentials)
        if self._admin is not None:
            await self._admin.start()
            log.info("health and reflection on %s", self._admin.address)

    async def open(
        self, engine: Engine, tokenizer: Tokenizer, served: ServedModel, model: pb.Model
    ) -> None:
        """Takes calls; who asks the health service is still told to wait."""
        config = self.config
        self._engine = engine
        self._embedder = embedder = Embedder(
            engine,
            tokenizer,
            served,
            self._watch,
            tokenizer_threads=config.tokenizer_threads or max(1, (os.cpu_count() or 2) - 1),
        )
        unary = EmbeddingService(
            embedder,
            revision=model.revision,
            max_inputs=config.max_inputs_per_request,
            max_response_bytes=config.max_response_bytes,
        )
        limits = StreamLimits(
            max_inputs=config.max_inputs_per_request,
            max_inflight_inputs=config.max_stream_inflight_inputs,
            group_tokens=min(config.max_batch_tokens, config.max_queue_tokens),
            max_response_bytes=config.max_response_bytes,
            max_age=config.max_connection_age * STREAM_AGE,
        )
        self._streams = StreamService(embedder, revision=model.revision, limits=limits)
        full = VectorFormat(model.dimensions, normalize=True, encoding=pb.VECTOR_ENCODING_FLOAT32)
        if (
            fit := results_that_fit(full, config.max_response_bytes)
        ) < config.max_inputs_per_request:
            log.warning(
                "--max-response-bytes %d holds %d vectors of float32: BatchEmbed of more is refused, "
                "though --max-inputs-per-request is %d",
                config.max_response_bytes,
                fit,
                config.max_inputs_per_request,
            )
        embedding: dict[str, Method] = {
            "Embed": unary.embed,
            "BatchEmbed": unary.batch_embed,
            "EmbedStream": self._streams.embed_stream,
            "ComputeSimilarity": unary.compute_similarity,
            "Tokenize": unary.tokenize,
        }
        for name in embedding.keys() - {"EmbedStream"}:
            embedding[name] = with_default_deadline(config.call_seconds, embedding[name])
        models = ModelService(model, served)
        methods: dict[str, Method] = {
            "GetModel": models.get_model,
            "ListModels": models.list_models,
        }
        self._server.add_generic_rpc_handlers(
            (self._calls.handler(EMBEDDING, embedding), self._calls.handler(MODEL, methods))
        )
        self._health.add_to(self._server)
        if config.reflection and not config.admin_address:
            add_reflection(self._server)
        await self._server.start()
        await self.set_serving(False)
        self._timer = asyncio.create_task(self._measure_lag())

    async def _measure_lag(self) -> None:
        """How late a timer is, is how long whatever else becomes ready waits for the event loop."""
        while True:
            due = time.monotonic() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._watch.metrics.loop_lag.observe(max(0.0, time.monotonic() - due))

    async def warm_up(self) -> None:
        """One text the whole way, tokenizer and engine included; raises what it fails with."""
        assert self._embedder is not None
        await self._embedder.warm_up()

    async def set_serving(self, serving: bool) -> None:
        """What the health service says of every service; after `drain` has begun, NOT_SERVING stays."""
        self.is_serving = serving and not self._draining
        await self._health.set_serving(serving)

    async def drain(self, lame_duck_seconds: float) -> None:
        """Is NOT_SERVING, takes no new work, answers what it accepted, and stops.

        CallGate are told to go elsewhere for at least so long: grpc answers one that arrives in the moment
        it stops with CANCELLED, which no client takes for an invitation to try another server.
        """
        self._draining = True
        self.is_serving = False
        await self._health.drain()
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
        self._health.close()
        # A handler that has returned is not yet an answer that was sent.
        await self._server.stop(SENDING_SECONDS)
        if self._admin is not None:
            await self._admin.stop()
        if self._embedder is not None:
            await asyncio.to_thread(self._embedder.close)
        if self._timer is not None:
            self._timer.cancel()
        if self._watch.tracing is not None:
            await asyncio.to_thread(self._watch.tracing.close)


def _tracing(config: ServerConfig) -> "Tracing | None":
    if config.traces == "none":
        return None
    from gemwire_server.observe.tracing import Tracing

    return Tracing()


def _age_options(age: float) -> list[tuple[str, int]]:
    if not age:
        return []
    return [
        ("grpc.max_connection_age_ms", round(age * 1000)),
        ("grpc.max_connection_age_grace_ms", round((age * AGE_GRACE + 10) * 1000)),
    ]
