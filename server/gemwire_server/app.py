"""Puts the parts together and runs them: the only place that chooses."""

import asyncio
import contextlib
import logging
import os
import queue
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import OVERALL_HEALTH
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from gemwire.v1 import embedding_pb2 as pb
from gemwire_server import __version__
from gemwire_server.checkpoint import Checkpoint, open_checkpoint
from gemwire_server.config import ServerConfig
from gemwire_server.engine import Engine, ThreadEngine
from gemwire_server.rpc.embedder import Embedder
from gemwire_server.rpc.embedding import EmbeddingService, raise_first
from gemwire_server.rpc.methods import Calls, Method
from gemwire_server.rpc.model import ModelService, describe
from gemwire_server.rpc.stream import StreamLimits, StreamService
from gemwire_server.rpc.validate import Served, check_options
from gemwire_server.runner import ModelRunner

log = logging.getLogger(__name__)

EMBEDDING = pb.DESCRIPTOR.services_by_name["EmbeddingService"]
MODEL = pb.DESCRIPTOR.services_by_name["ModelService"]
HEALTH_NAMES = (OVERALL_HEALTH, EMBEDDING.full_name, MODEL.full_name)
# One interpreter runs the event loop and feeds the device: at the default of 5 ms a thread that computes
# in Python holds up each call by that much.
SWITCH_INTERVAL_SECONDS = 0.0005
# For the last answers to leave; only who watches the health service is still there then.
SENDING_SECONDS = 1.0
LAME_DUCK_SECONDS = 0.5
ABANDON_SECONDS = 5.0


class Application:
    """A server: `start`, then either `drain` or `stop`."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.address = ""
        self.model = pb.Model()
        self._calls = Calls(config.max_concurrent_calls)
        self._closers: list[Callable[[], None]] = []
        self._engine: Engine | None = None
        self._streams: StreamService | None = None
        self._health = health_aio.HealthServicer()
        self._server = grpc.aio.server(
            options=[
                # A taken port is an error, not a share of its connections.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", config.max_request_bytes),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                # Below what clients ping with, or they are sent away for pinging too much.
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
        )

    async def start(self) -> None:
        """Takes the address, loads the model, warms up, and is SERVING.

        Raises OSError if the address cannot be had and CheckpointError if the model cannot.
        """
        self._loop = asyncio.get_running_loop()
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        # First, so that a taken address shows before the model is read.
        self.address = _bind(self._server, self.config.address)
        try:
            embedder = await asyncio.to_thread(self._load)
            self._register(embedder)
            await self._server.start()
            # The whole way once, tokenizer and engine included, before anyone is told to come.
            options = check_options(pb.EmbedOptions(), embedder.served)
            answers, _ = await embedder.embed(
                [pb.EmbedInput(text="warm-up")], options, None, ["input"]
            )
            raise_first(answers)
            await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        except BaseException:
            await self.stop()
            raise

    def _load(self) -> Embedder:
        config = self.config
        checkpoint = open_checkpoint(config.model, config.revision or None)
        tokenizer = checkpoint.load_tokenizer()
        runner = ModelRunner.load(
            checkpoint, dtype=config.dtype, threads=config.threads, weights=config.weights
        )
        runner.warm_up(config.max_batch_tokens)
        self.model = describe(checkpoint, runner, config)
        engine = ThreadEngine(
            runner,
            max_batch_tokens=config.max_batch_tokens,
            max_queue_tokens=config.max_queue_tokens,
            on_death=self._engine_died,
        )
        self._engine = engine
        self._closers.append(engine.close)
        embedder = Embedder(
            engine,
            tokenizer,
            _served(checkpoint, config),
            tokenizer_threads=config.tokenizer_threads or max(1, (os.cpu_count() or 2) - 1),
        )
        self._closers.append(embedder.close)
        return embedder

    def _register(self, embedder: Embedder) -> None:
        config, revision = self.config, self.model.revision
        unary = EmbeddingService(
            embedder, revision=revision, max_inputs=config.max_inputs_per_request
        )
        limits = StreamLimits(
            max_inputs=config.max_inputs_per_request,
            max_inflight_inputs=config.max_stream_inflight_inputs,
            group_tokens=min(config.max_batch_tokens, config.max_queue_tokens),
        )
        self._streams = StreamService(embedder, revision=revision, limits=limits)
        embedding: dict[str, Method] = {
            "Embed": unary.embed,
            "BatchEmbed": unary.batch_embed,
            "EmbedStream": self._streams.embed_stream,
            "ComputeSimilarity": unary.compute_similarity,
            "Tokenize": unary.tokenize,
        }
        models = ModelService(self.model, embedder.served)
        model: dict[str, Method] = {"GetModel": models.get_model, "ListModels": models.list_models}
        self._server.add_generic_rpc_handlers(
            (self._calls.handler(EMBEDDING, embedding), self._calls.handler(MODEL, model))
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if config.reflection:
            names = (*HEALTH_NAMES[1:], HEALTH_SERVICE, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)

    def _engine_died(self) -> None:
        """Says so to who watches: a server that cannot compute must not be sent work."""
        not_serving = self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        asyncio.run_coroutine_threadsafe(not_serving, self._loop)

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
        """Ends what is left: open calls, the engine, the threads."""
        # A handler that has returned is not yet an answer that was sent.
        await self._server.stop(SENDING_SECONDS)
        for close in self._closers:
            await asyncio.to_thread(close)
        self._closers.clear()

    async def _set_health(self, status: int) -> None:
        for name in HEALTH_NAMES:
            await self._health.set(name, status)


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


def _served(checkpoint: Checkpoint, config: ServerConfig) -> Served:
    return Served(
        name=checkpoint.name,
        dimensions=checkpoint.dimensions,
        prompts=checkpoint.prompts,
        default_task=config.default_task,
    )


def serve(config: ServerConfig) -> int:
    """Serves until SIGTERM or SIGINT, drains, and returns 0; a second signal ends at once, with 1."""
    logging.basicConfig(
        level=config.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    return asyncio.run(_serve(config))


async def _serve(config: ServerConfig) -> int:
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number)
    app = Application(config)
    starting = asyncio.create_task(app.start())
    told = asyncio.create_task(signals.get())
    await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
    if told.done() and not starting.done():
        os._exit(0)  # nothing accepted yet; a thread is reading weights and cannot be interrupted
    await starting
    print(banner(app), flush=True)
    number = await told
    log.info("%s: draining", number.name)
    draining = asyncio.create_task(app.drain(LAME_DUCK_SECONDS))
    again = asyncio.create_task(signals.get())
    await asyncio.wait({draining, again}, return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        log.warning("second signal: ending at once")
        os._exit(1)
    again.cancel()
    await draining
    log.info("drained")
    return 0


def banner(app: Application) -> str:
    """What a person wants to know of a server that has just started."""
    model, limits = app.model, app.model.limits
    command = "gemwire" if shutil.which("gemwire") else f"{sys.executable} -m gemwire_server"
    return "\n".join(
        [
            f"gemwire {__version__} serves {model.name} on {app.address}",
            f"  revision    {model.revision}",
            f"  engine      {model.engine}",
            f"  dimensions  {', '.join(map(str, model.supported_dimensions))}",
            f"  window      {model.max_input_tokens} tokens",
            f"  limits      {limits.max_inputs_per_request} inputs and {limits.max_request_bytes} bytes a "
            f"request, {limits.max_batch_tokens} tokens a step, {limits.max_queue_tokens} in the queue",
            f"  try         echo 'Which planet is known as the Red Planet?' | "
            f"{command} embed - --server {app.address} --task retrieval_query -o -",
        ]
    )


@contextlib.contextmanager
def background_server(config: ServerConfig) -> Iterator[str]:
    """A server in threads of this process, on a private unix socket unless the config's address is
    another than the default; yields its address, drains at exit."""
    with tempfile.TemporaryDirectory(prefix="gemwire-") as folder:
        if config.address == ServerConfig.__dataclass_fields__["address"].default:
            config = replace(config, address=f"unix:{Path(folder) / 'gemwire.sock'}")
        started: queue.SimpleQueue[Application | BaseException] = queue.SimpleQueue()
        finish = threading.Event()
        thread = threading.Thread(target=_run_in_background, args=(config, started, finish))
        thread.start()
        try:
            app = _wait_for(started, folder)
            if isinstance(app, BaseException):
                raise app
            yield app.address
        finally:
            finish.set()
            thread.join()


def _wait_for(
    started: "queue.SimpleQueue[Application | BaseException]", folder: str
) -> "Application | BaseException":
    try:
        return started.get()
    except (
        BaseException
    ) as error:  # a signal's, while a thread reads weights: it cannot be interrupted
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(
            error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 130
        )


def _run_in_background(
    config: ServerConfig,
    started: "queue.SimpleQueue[Application | BaseException]",
    finish: threading.Event,
) -> None:
    async def main() -> None:
        app = Application(config)
        try:
            await app.start()
        except BaseException as error:
            started.put(error)
            return
        started.put(app)
        await asyncio.to_thread(finish.wait)
        await app.drain(0.0)  # whoever was given the address has left

    asyncio.run(main())
