"""A front's process: fronts before the engines of other processes."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine

import uvloop
from prometheus_client import CollectorRegistry

from gemwire_server.checkpoints import open_configured
from gemwire_server.config.options import ServerConfig
from gemwire_server.errors import CheckpointError, GemwireError, one_line
from gemwire_server.observe.metrics import CallMetrics
from gemwire_server.processes import control
from gemwire_server.processes.child_setup import set_up
from gemwire_server.processes.control import Channel
from gemwire_server.processes.control_messages import (
    ConnectEngine,
    ControlMessage,
    DrainFront,
    EngineLost,
    FrontReady,
    FrontServing,
    Quarantined,
    RestartTime,
    StartFailed,
    StartFront,
)
from gemwire_server.processes.fronts import Fronts
from gemwire_server.processes.link import LinkClosed
from gemwire_server.processes.pool import EnginePool
from gemwire_server.processes.remote import RemoteEngine
from gemwire_server.served_model import ServedModel

log = logging.getLogger(__name__)


def run_front(descriptor: int) -> int:
    """Runs until the supervisor drains the front, or is gone."""
    return uvloop.run(_run(descriptor))


async def _run(descriptor: int) -> int:
    channel = await Channel.over(control.inherited(descriptor))
    incoming = channel.messages()
    first = await anext(incoming, None)
    if first is None:
        return 0
    assert isinstance(first, StartFront)
    config = set_up(first)
    front = _FrontProcess(config, ServedModel.from_fields(first.model), channel)
    try:
        await front.start()
    except (CheckpointError, GemwireError, OSError, ValueError) as error:
        channel.send(StartFailed(one_line(error)))
        return 1
    async for message in incoming:
        if isinstance(message, DrainFront):
            await front.drain(message.lame_duck_seconds)
            return 0
        front.take(message)
    return 1  # the supervisor is gone


class _FrontProcess:
    def __init__(self, config: ServerConfig, model: ServedModel, channel: Channel) -> None:
        self._config = config
        self._model = model
        self._channel = channel
        self._fronts = Fronts(config, CallMetrics(CollectorRegistry()), share_port=True)
        self._pool = EnginePool(
            max_queue_tokens=config.max_queue_tokens,
            max_tokens=model.max_tokens,
            hidden_size=model.hidden_size,
        )
        self._serving = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Takes the port; SERVING comes with the first engine."""
        await self._fronts.bind()
        checkpoint = await asyncio.to_thread(open_configured, self._config)
        tokenizer = await asyncio.to_thread(checkpoint.load_tokenizer)
        await self._fronts.open(self._pool, tokenizer, self._model, self._config)
        self._channel.send(FrontReady())

    def take(self, message: ControlMessage) -> None:
        """Acts on a message of the supervisor's."""
        match message:
            case ConnectEngine(index, path):
                self._connect(index, path)
            case Quarantined(suspects, convicted):
                self._pool.quarantine.add(suspects, convicted=False)
                self._pool.quarantine.add(convicted, convicted=True)
            case RestartTime(seconds):
                self._pool.retry_after = seconds

    def _connect(self, index: int, path: str) -> None:
        try:
            engine = self._pool.connect(index, path)
        except OSError as error:  # it ended meanwhile; the supervisor knows
            log.warning("engine %d: %s", index, error.strerror)
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(engine.fileno(), self._read, engine)
        self._start(self._say_serving())

    def _read(self, engine: RemoteEngine) -> None:
        try:
            self._pool.read(engine)
        except LinkClosed:
            loop = asyncio.get_running_loop()
            loop.remove_reader(engine.fileno())
            running = self._pool.lost(engine)
            self._channel.send(EngineLost(engine.index, running))
            if not self._pool.engines:
                self._start(self._say_not_serving())

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _say_serving(self) -> None:
        """Serves once a text has gone the whole way."""
        async with self._serving:
            with contextlib.suppress(GemwireError):
                await self._fronts.warm_up()
                if self._pool.engines:
                    await self._fronts.set_serving(True)
                    self._channel.send(FrontServing(True))

    async def _say_not_serving(self) -> None:
        await self._fronts.set_serving(False)
        self._channel.send(FrontServing(False))

    async def drain(self, lame_duck_seconds: float) -> None:
        await self._fronts.drain(lame_duck_seconds)
        await asyncio.to_thread(self._pool.close)
