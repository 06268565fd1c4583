"""The parent of fronts and engines: starts them, watches them, starts them again, and ends them."""

import asyncio
import contextlib
import logging
import secrets
import signal
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gemwire_server.config.options import DEFAULT_LOADER, ServerConfig
from gemwire_server.errors import StartError
from gemwire_server.processes.control import Channel, Message, spawn
from gemwire_server.processes.port import HeldPort
from gemwire_server.security import check_files
from gemwire_server.served_model import ServedModel

if TYPE_CHECKING:
    from gemwire_server.processes.server_metrics import ServerMetrics

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 10.0
LONGEST_PAUSE_OF_STARTED_SECONDS = 1.0
# Who has run for so long has started well: its next restart is at once.
HEALTHY_SECONDS = 30.0
# To load a model: a first start may fetch it, or compile for a device.
LOADING_SECONDS = 1800.0
# After the drain, for the last answers and what holds them up (see Front).
ENDING_SECONDS = 10.0
REPORT_SECONDS = 1.0
# Deaths that are somebody else's doing and no text's.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CANNOT_LOAD = 3  # see processes.engine


@dataclass(slots=True)
class _Engine:
    """`path` is where it listens, empty while it does not."""

    index: int
    config: ServerConfig
    path: str = ""
    process: Process | None = None
    running: list[str] = field(default_factory=list)
    """Digests of what it was computing when it was lost, as fronts report it."""
    reports: int = 0
    reported: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Front:
    index: int
    process: Process | None = None
    channel: Channel | None = None
    serving: bool = False


class _Pauses:
    """Between restarts: longer each time; who cannot even start is given longer still."""

    def __init__(self) -> None:
        self._next = 0.0
        self._started: float | None = None

    def started(self) -> None:
        self._started = time.monotonic()

    def after_end(self) -> float:
        longest = LONGEST_PAUSE_SECONDS
        if self._started is not None:
            longest = LONGEST_PAUSE_OF_STARTED_SECONDS
            if time.monotonic() - self._started >= HEALTHY_SECONDS:
                self._next = 0.0
        self._started = None
        pause = min(self._next, longest)
        self._next = min(max(2 * self._next, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        return pause


class Supervisor:
    """A server of several processes; satisfies `serving.Server`.

    Raises from `start`: ConfigError for files that cannot be used, OSError if the address cannot be had,
    StartError if the model cannot.
    """

    def __init__(self, config: ServerConfig, loader: str = DEFAULT_LOADER) -> None:
        self.config = config
        self.address = ""
        self.model: ServedModel | None = None
        self._loader = loader
        devices = config.devices.split(",") if config.devices else []
        engines = [replace(config, device=f"cuda:{d}", devices="") for d in devices] or [config]
        self._engines = [_Engine(i, each) for i, each in enumerate(engines)]
        self._fronts = [_Front(i) for i in range(config.fronts)]
        self._tasks: list[asyncio.Task[None]] = []
        self._ready: asyncio.Queue[object] = asyncio.Queue()  # engines, fronts: what serves first
        self._draining = False
        self._ports: list[HeldPort] = []
        self._metrics: ServerMetrics | None = None

    @property
    def metrics_address(self) -> str:
        """Where the metrics are, with the port that 0 became; empty if nowhere."""
        return self._metrics.address if self._metrics is not None else ""

    async def start(self) -> None:
        check_files(self.config)  # before a model is loaded
        self.config = replace(
            self.config,
            address=self._hold(self.config.address),
            admin_address=self.config.admin_address and self._hold(self.config.admin_address),
        )
        self.address = self.config.address
        try:
            if self.config.metrics_address:
                # With what it imports, which else is only for the children.
                from gemwire_server.processes.server_metrics import ServerMetrics

                self._metrics = ServerMetrics(
                    self.config.metrics_address,
                    lambda: any(front.serving for front in self._fronts),
                )
            self._tasks = [asyncio.create_task(self._keep_engine(each)) for each in self._engines]
            await self._all_ready(len(self._engines))
            self._tasks += [asyncio.create_task(self._keep_front(each)) for each in self._fronts]
            await self._all_ready(len(self._fronts))
        except BaseException:
            self.end_now()
            raise

    def _hold(self, address: str) -> str:
        held = HeldPort(address)
        self._ports.append(held)
        return held.address

    async def _all_ready(self, count: int) -> None:
        for _ in range(count):
            waiting = asyncio.create_task(self._ready.get())
            done, _ = await asyncio.wait(
                {waiting, *self._tasks}, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done - {waiting}:
                task.result()  # raises what it ended with

    async def drain(self, lame_duck_seconds: float) -> None:
        self._draining = True
        processes = []
        for front in self._fronts:
            if front.channel is not None and front.process is not None:
                front.channel.send(drain=lame_duck_seconds)
                processes.append(front.process)
        await _wait_for_all(processes, self.config.drain_seconds + ENDING_SECONDS)
        # Nobody is left to ask them anything.
        engines = [engine.process for engine in self._engines if engine.process is not None]
        for process in engines:
            process.kill()
        await _wait_for_all(engines, ENDING_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for port in self._ports:
            port.close()
        self._close_metrics()

    def end_now(self) -> None:
        self._draining = True
        for process in (
            *(engine.process for engine in self._engines),
            *(front.process for front in self._fronts),
        ):
            if process is not None and process.returncode is None:
                process.kill()
        self._close_metrics()

    def _close_metrics(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None

    def _names(self, part: str, index: int) -> Message:
        """What a child is told of its metrics."""
        folder = self._metrics.folder if self._metrics is not None else ""
        return {"name": f"{part}{index}", "metrics": folder}

    def _count_death(self, part: str, index: int, reason: str) -> None:
        if self._metrics is not None:
            self._metrics.child_died(part, index, reason)
            self._count_engines()

    def _count_engines(self) -> None:
        if self._metrics is not None:
            self._metrics.engines_serving(sum(bool(engine.path) for engine in self._engines))

    # Engines

    async def _keep_engine(self, engine: _Engine) -> None:
        pauses, started = _Pauses(), False
        while not self._draining:
            begun = time.monotonic()
            process, channel = await spawn("engine")
            engine.process = process
            path = f"\0gemwire-{secrets.token_hex(16)}"
            channel.send(
                config=asdict(engine.config),
                loader=self._loader,
                path=path,
                **self._names("engine", engine.index),
            )
            hung = stopped = False
            try:
                async for message in self._watched(channel):
                    if "ready" in message:
                        self._engine_ready(engine, path, message)
                        pauses.started()
                        self._tell_fronts(retry_after=time.monotonic() - begun)
                        if not started:
                            started = True
                            self._ready.put_nowait(engine)
                    elif "failed" in message and not started:
                        raise StartError(message["failed"])
                    elif "failed" in message:
                        log.error("engine %d cannot start: %s", engine.index, message["failed"])
            except TimeoutError:
                hung, stopped = True, _is_stopped(process.pid)
                process.kill()
            finally:
                engine.path = ""
                channel.close()
            code = await process.wait()
            engine.process = None
            if self._draining:
                return
            if not started:
                raise StartError(f"the engine's process ended while it loaded: {_cause(code)}")
            log.error("engine %d ended: %s", engine.index, "it hung" if hung else _cause(code))
            self._count_death("engine", engine.index, "hung" if hung else "died")
            # A hang is a text's doing, unless somebody has stopped the process.
            suspicious = not stopped if hung else -code not in FROM_OUTSIDE
            await self._look_for_culprits(engine, suspicious)
            await asyncio.sleep(pauses.after_end())

    async def _watched(self, channel: Channel) -> AsyncIterator[Message]:
        """An engine's messages; TimeoutError if it makes no progress."""
        messages = channel.messages()
        patience = LOADING_SECONDS
        while True:
            async with asyncio.timeout(patience):
                message = await anext(messages, None)
            if message is None:
                return
            if message.get("busy_seconds", 0.0) > self.config.watchdog_seconds:
                raise TimeoutError
            yield message
            if "ready" in message:
                patience = self.config.watchdog_seconds

    def _engine_ready(self, engine: _Engine, path: str, message: Message) -> None:
        self.model = ServedModel.from_fields(message["ready"])
        self.config = replace(self.config, max_batch_tokens=message["max_batch_tokens"])
        engine.path = path
        self._count_engines()
        self._tell_fronts(engine=engine.index, path=path)

    async def _look_for_culprits(self, engine: _Engine, suspicious: bool) -> None:
        """Has the fronts compute alone what ran when an engine died, or never again what ran alone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REPORT_SECONDS):
                while engine.reports < sum(front.serving for front in self._fronts):
                    engine.reported.clear()
                    await engine.reported.wait()
        digests, engine.running, engine.reports = sorted(set(engine.running)), [], 0
        if not suspicious or not digests:
            return
        convicted = digests if len(digests) == 1 else []
        log.error(
            "engine %d: %d texts that it was computing are %s",
            engine.index,
            len(digests),
            "not computed again" if convicted else "computed alone from now on",
        )
        self._tell_fronts(suspects=[] if convicted else digests, convicted=convicted)

    # Fronts

    async def _keep_front(self, front: _Front) -> None:
        pauses, started = _Pauses(), False
        while not self._draining:
            front.process, front.channel = process, channel = await spawn("front")
            assert self.model is not None, "a front starts after an engine"
            model = self.model.to_fields()
            names = self._names("front", front.index)
            channel.send(config=asdict(self.config), model=model, **names)
            async for message in channel.messages():
                if "ready" in message:
                    pauses.started()
                    for engine in self._engines:
                        if engine.path:
                            channel.send(engine=engine.index, path=engine.path)
                elif "serving" in message:
                    front.serving = message["serving"]
                    if front.serving and not started:
                        started = True
                        self._ready.put_nowait(front)
                elif "lost" in message:
                    engine = self._engines[message["lost"]]
                    engine.running += message["running"]
                    engine.reports += 1
                    engine.reported.set()
                elif "failed" in message and not started:
                    raise StartError(message["failed"])
                elif "failed" in message:
                    log.error("front %d cannot start: %s", front.index, message["failed"])
            front.serving, front.channel = False, None
            channel.close()
            code = await process.wait()
            front.process = None
            if self._draining:
                return
            if not started:
                raise StartError(f"a front's process ended while it started: {_cause(code)}")
            log.error("front %d ended: %s", front.index, _cause(code))
            self._count_death("front", front.index, "died")
            await asyncio.sleep(pauses.after_end())

    def _tell_fronts(self, **message: object) -> None:
        for front in self._fronts:
            if front.channel is not None:
                front.channel.send(**message)


def _is_stopped(pid: int) -> bool:
    """By SIGSTOP, or a debugger."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


async def _wait_for_all(processes: list[Process], seconds: float) -> None:
    """Kills what has not ended by then."""
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(process.wait() for process in processes))
    except TimeoutError:
        log.error("after %g s: ending what has not ended", seconds)
        for process in processes:
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*(process.wait() for process in processes))
