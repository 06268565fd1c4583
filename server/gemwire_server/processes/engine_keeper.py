"""Keeps an engine's process running: starts, watches and restarts it, and finds the texts that end it."""

import asyncio
import contextlib
import logging
import secrets
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path

from gemwire_server.errors import StartError
from gemwire_server.processes.backoff import Backoff
from gemwire_server.processes.children import Children, EngineChild, cause
from gemwire_server.processes.control import Channel, spawn
from gemwire_server.processes.control_messages import (
    ConnectEngine,
    ControlMessage,
    EngineBusy,
    EngineReady,
    Quarantined,
    RestartTime,
    StartEngine,
    StartFailed,
)
from gemwire_server.served_model import ServedModel

log = logging.getLogger(__name__)

# To load a model: a first start may fetch it, or compile for a device.
LOADING_SECONDS = 1800.0
# How long fronts may take to report what a lost engine computed.
REPORT_SECONDS = 1.0
# Signals that come from outside, not from a text.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class EngineKeeper:
    """`run` raises StartError if the engine cannot start the first time."""

    def __init__(self, engine: EngineChild, children: Children) -> None:
        self._engine = engine
        self._children = children
        self._backoff = Backoff()
        self._started = False

    async def run(self) -> None:
        """Returns once the server drains."""
        engine, children = self._engine, self._children
        while not children.draining:
            begun = time.monotonic()
            engine.process, channel = process, channel = await spawn("engine")
            path = f"\0gemwire-{secrets.token_hex(16)}"
            start = StartEngine(
                config=asdict(engine.config),
                name=f"engine{engine.index}",
                metrics_folder=children.metrics_folder(),
                loader=children.loader,
                path=path,
            )
            channel.send(start)
            hung = stopped = False
            try:
                async for message in self._watched(channel):
                    match message:
                        case EngineReady():
                            self._ready(path, message, time.monotonic() - begun)
                        case StartFailed(text) if not self._started:
                            raise StartError(text)
                        case StartFailed(text):
                            log.error("engine %d cannot start: %s", engine.index, text)
            except TimeoutError:
                hung, stopped = True, _is_stopped(process.pid)
                process.kill()
            finally:
                engine.path = ""
                channel.close()
            code = await process.wait()
            engine.process = None
            if children.draining:
                return
            if not self._started:
                raise StartError(f"the engine's process ended while it loaded: {cause(code)}")
            log.error("engine %d ended: %s", engine.index, "it hung" if hung else cause(code))
            children.count_death("engine", engine.index, "hung" if hung else "died")
            # A text may cause a hang, unless the process was stopped from outside.
            suspicious = not stopped if hung else -code not in FROM_OUTSIDE
            await self._quarantine(suspicious)
            await asyncio.sleep(self._backoff.after_end())

    async def _watched(self, channel: Channel) -> AsyncIterator[ControlMessage]:
        """The engine's messages. Raises TimeoutError if the engine makes no progress."""
        messages = channel.messages()
        watchdog = self._children.config.watchdog_seconds
        patience = LOADING_SECONDS
        while True:
            async with asyncio.timeout(patience):
                message = await anext(messages, None)
            if message is None:
                return
            if isinstance(message, EngineBusy) and message.seconds > watchdog:
                raise TimeoutError
            yield message
            if isinstance(message, EngineReady):
                patience = watchdog

    def _ready(self, path: str, message: EngineReady, seconds: float) -> None:
        engine, children = self._engine, self._children
        children.model = ServedModel.from_fields(message.model)
        children.config = replace(children.config, max_batch_tokens=message.max_batch_tokens)
        engine.path = path
        children.count_engines()
        children.send_to_fronts(ConnectEngine(engine.index, path))
        children.send_to_fronts(RestartTime(seconds))
        self._backoff.started()
        if not self._started:
            self._started = True
            children.started.put_nowait(engine)

    async def _quarantine(self, suspicious: bool) -> None:
        """Has the fronts compute alone the texts that ran when the engine died. A text that ran alone
        is never computed again."""
        engine, children = self._engine, self._children
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REPORT_SECONDS):
                while engine.reports < sum(front.serving for front in children.fronts):
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
        suspects = [] if convicted else digests
        children.send_to_fronts(Quarantined(suspects, convicted))


def _is_stopped(pid: int) -> bool:
    """Whether the process is stopped by SIGSTOP or a debugger."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False
