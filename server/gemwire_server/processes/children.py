"""What the keepers of a supervisor's children share: the children, their metrics, and the model."""

import asyncio
import logging
import signal
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemwire_server.config.options import ServerConfig
from gemwire_server.processes.control import Channel
from gemwire_server.processes.control_messages import ControlMessage
from gemwire_server.served_model import ServedModel

if TYPE_CHECKING:
    from gemwire_server.processes.server_metrics import ServerMetrics

log = logging.getLogger(__name__)


@dataclass(slots=True)
class EngineChild:
    """An engine's process, or its place. `path` is where it listens, empty while it does not."""

    index: int
    config: ServerConfig
    path: str = ""
    process: Process | None = None
    running: list[str] = field(default_factory=list)
    """Digests of what it computed when it was lost, as fronts report them."""
    reports: int = 0
    reported: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class FrontChild:
    """A front's process, or its place."""

    index: int
    process: Process | None = None
    channel: Channel | None = None
    serving: bool = False


@dataclass(slots=True)
class Children:
    """All children of a supervisor.

    `config` has the tokens of a step that suit the device, and `model` is known, once an engine is ready.
    """

    config: ServerConfig
    loader: str
    engines: list[EngineChild]
    fronts: list[FrontChild]
    model: ServedModel | None = None
    draining: bool = False
    metrics: "ServerMetrics | None" = None
    started: asyncio.Queue[object] = field(default_factory=asyncio.Queue)
    """Every engine and front, when it is ready for the first time."""

    def metrics_folder(self) -> str:
        return self.metrics.folder if self.metrics is not None else ""

    def send_to_fronts(self, message: ControlMessage) -> None:
        for front in self.fronts:
            if front.channel is not None:
                front.channel.send(message)

    def count_engines(self) -> None:
        """Brings the metric of engines that serve up to date."""
        if self.metrics is not None:
            self.metrics.engines_serving(sum(bool(engine.path) for engine in self.engines))

    def count_death(self, part: str, index: int, reason: str) -> None:
        """`part` is engine or front."""
        if self.metrics is not None:
            self.metrics.child_died(part, index, reason)
            self.count_engines()

    def kill(self) -> None:
        """Ends every child at once."""
        processes = [each.process for each in self.engines] + [each.process for each in self.fronts]
        for process in processes:
            if process is not None and process.returncode is None:
                process.kill()


def cause(code: int) -> str:
    """Why a process ended, from its exit code as asyncio gives it."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


async def wait_for_all(processes: Sequence[Process], seconds: float) -> None:
    """Waits for the processes to end, and kills those that have not after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(process.wait() for process in processes))
    except TimeoutError:
        log.error("after %g s: ending what has not ended", seconds)
        for process in processes:
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*(process.wait() for process in processes))
