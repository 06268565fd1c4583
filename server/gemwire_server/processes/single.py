"""A server in one process, put together from its parts."""

import asyncio
import contextlib
import logging
import os
import queue
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from gemwire_server.checkpoints import open_configured
from gemwire_server.config.options import DEFAULT_LOADER, ServerConfig
from gemwire_server.engine.thread_engine import SWITCH_INTERVAL_SECONDS, ThreadEngine
from gemwire_server.observe.metrics import CallMetrics, EngineMetrics, SupervisorMetrics
from gemwire_server.observe.metrics_page import MetricsPage
from gemwire_server.processes.fronts import Fronts
from gemwire_server.runners.loading import Loaded, load
from gemwire_server.served_model import ServedModel

log = logging.getLogger(__name__)


class Application:
    """A server with its engine in threads of this process: `start`, then either `drain` or `stop`."""

    def __init__(self, config: ServerConfig, loader: str = DEFAULT_LOADER) -> None:
        self.config = config
        self._loader = loader
        self.model: ServedModel | None = None
        self._registry = CollectorRegistry()
        self._parts = SupervisorMetrics(self._registry)
        self._fronts = Fronts(config, CallMetrics(self._registry))
        self._metrics_page: MetricsPage | None = None
        self._engine: ThreadEngine | None = None

    @property
    def address(self) -> str:
        return self._fronts.grpc.address

    @property
    def http_address(self) -> str:
        """The address of HTTP, with the port that 0 became; empty without HTTP."""
        return self._fronts.http.address if self._fronts.http is not None else ""

    @property
    def metrics_address(self) -> str:
        """The address of the metrics, with the port that 0 became; empty without metrics."""
        return self._metrics_page.address if self._metrics_page else ""

    async def start(self) -> None:
        """Takes the address, loads the model, warms up, and is SERVING.

        Raises OSError if the address cannot be had and CheckpointError if the model cannot.
        """
        self._loop = asyncio.get_running_loop()
        # First, so that a taken address shows before the model is read.
        try:
            await self._fronts.bind()
            if self.config.metrics_address:
                self._metrics_page = MetricsPage(
                    self.config.metrics_address, self._registry, lambda: self._fronts.is_serving
                )
            checkpoint = await asyncio.to_thread(open_configured, self.config)
            tokenizer = await asyncio.to_thread(checkpoint.load_tokenizer)
            loaded = await asyncio.to_thread(load, checkpoint, self.config, self._loader)
            # From here on it is known what suits the device.
            self.config = loaded.config
            self.model = loaded.model
            self._engine = self._make_engine(loaded)
            await self._fronts.open(self._engine, tokenizer, loaded.model, loaded.config)
            await self._fronts.warm_up()
            await self._fronts.set_serving(True)
            self._parts.engines_serving(1)
        except BaseException:
            await self.stop()
            raise

    def _make_engine(self, loaded: Loaded) -> ThreadEngine:
        return ThreadEngine(
            loaded.runner,
            max_batch_tokens=loaded.config.max_batch_tokens,
            max_queue_tokens=loaded.config.max_queue_tokens,
            on_death=self._engine_died,
            observer=EngineMetrics(self._registry, max_batch_tokens=loaded.config.max_batch_tokens),
        )

    def _engine_died(self) -> None:
        """Sets the health: a server that cannot compute must not be sent work."""
        self._parts.engines_serving(0)
        asyncio.run_coroutine_threadsafe(self._fronts.set_serving(False), self._loop)

    async def drain(self, lame_duck_seconds: float) -> None:
        """See `Fronts.drain`."""
        await self._fronts.drain(lame_duck_seconds)
        await self.stop()

    def end_now(self) -> None:
        """Its threads end with the process."""

    async def stop(self) -> None:
        """Ends what is left: open calls, the engine, the threads."""
        try:
            await self._fronts.stop()
        finally:  # its threads would keep the process from ending
            if self._engine is not None:
                await asyncio.to_thread(self._engine.close)
        if self._metrics_page is not None:
            await asyncio.to_thread(self._metrics_page.close)


def only_application(config: ServerConfig, loader: str) -> Application:
    """An application that has its process to itself: its threads hand over sooner."""
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    return Application(config, loader)


@contextlib.contextmanager
def background_server(config: ServerConfig) -> Iterator[str]:
    """A server in threads of this process, on a private unix socket unless the config's address is
    another than the default; yields its address, drains at exit."""
    with background_application(config) as app:
        yield app.address


@contextlib.contextmanager
def background_application(config: ServerConfig) -> Iterator[Application]:
    """See `background_server`."""
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
            yield app
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
        await app.drain(0.0)  # the user of the address has left

    asyncio.run(main())
