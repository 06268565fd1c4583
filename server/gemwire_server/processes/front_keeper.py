"""Keeps a front's process running: starts it, gives it the engines, and restarts it."""

import asyncio
import logging
from dataclasses import asdict

from gemwire_server.errors import StartError
from gemwire_server.processes.backoff import Backoff
from gemwire_server.processes.children import Children, FrontChild, cause
from gemwire_server.processes.control import Channel, spawn
from gemwire_server.processes.control_messages import (
    ConnectEngine,
    ControlMessage,
    EngineLost,
    FrontReady,
    FrontServing,
    StartFailed,
    StartFront,
)

log = logging.getLogger(__name__)


class FrontKeeper:
    """`run` raises StartError if the front cannot start the first time."""

    def __init__(self, front: FrontChild, children: Children) -> None:
        self._front = front
        self._children = children
        self._backoff = Backoff()
        self._started = False

    async def run(self) -> None:
        """Returns once the server drains."""
        front, children = self._front, self._children
        while not children.draining:
            front.process, front.channel = process, channel = await spawn("front")
            assert children.model is not None, "a front starts after an engine"
            start = StartFront(
                config=asdict(children.config),
                name=f"front{front.index}",
                metrics_folder=children.metrics_folder(),
                model=children.model.to_fields(),
            )
            channel.send(start)
            async for message in channel.messages():
                self._take(message, channel)
            front.serving, front.channel = False, None
            channel.close()
            code = await process.wait()
            front.process = None
            if children.draining:
                return
            if not self._started:
                raise StartError(f"a front's process ended while it started: {cause(code)}")
            log.error("front %d ended: %s", front.index, cause(code))
            children.count_death("front", front.index, "died")
            await asyncio.sleep(self._backoff.after_end())

    def _take(self, message: ControlMessage, channel: Channel) -> None:
        front, children = self._front, self._children
        match message:
            case FrontReady():
                self._backoff.started()
                for engine in children.engines:
                    if engine.path:
                        channel.send(ConnectEngine(engine.index, engine.path))
            case FrontServing(serving):
                front.serving = serving
                if serving and not self._started:
                    self._started = True
                    children.started.put_nowait(front)
            case EngineLost(index, running):
                lost = children.engines[index]
                lost.running += running
                lost.reports += 1
                lost.reported.set()
            case StartFailed(text) if not self._started:
                raise StartError(text)
            case StartFailed(text):
                log.error("front %d cannot start: %s", front.index, text)
