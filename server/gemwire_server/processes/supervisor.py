"""The parent of fronts and engines: starts them in order, and ends them."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace

from gemwire_server.config.options import DEFAULT_LOADER, ServerConfig
from gemwire_server.processes.children import Children, EngineChild, FrontChild, wait_for_all
from gemwire_server.processes.control_messages import DrainFront
from gemwire_server.processes.engine_keeper import EngineKeeper
from gemwire_server.processes.front_keeper import FrontKeeper
from gemwire_server.processes.port import HeldPort
from gemwire_server.security import check_files
from gemwire_server.served_model import ServedModel

# After the drain, for final responses and what holds them up (see `processes.fronts.Fronts.drain`).
ENDING_SECONDS = 10.0


class Supervisor:
    """A server of several processes; satisfies `serving.Server`.

    `start` raises ConfigError for files that cannot be used, OSError if an address cannot be had, and
    StartError if the model cannot be served.
    """

    def __init__(self, config: ServerConfig, loader: str = DEFAULT_LOADER) -> None:
        self.address = ""
        devices = config.devices.split(",") if config.devices else []
        engines = [replace(config, device=f"cuda:{d}", devices="") for d in devices] or [config]
        self._children = Children(
            config=config,
            loader=loader,
            engines=[EngineChild(i, each) for i, each in enumerate(engines)],
            fronts=[FrontChild(i) for i in range(config.fronts)],
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._ports: list[HeldPort] = []

    @property
    def config(self) -> ServerConfig:
        """With the addresses taken and, once an engine is ready, the tokens of a step."""
        return self._children.config

    @property
    def model(self) -> ServedModel | None:
        """Known once an engine is ready."""
        return self._children.model

    @property
    def http_address(self) -> str:
        """The address of HTTP, with the port that 0 became; empty without HTTP."""
        return self._children.config.http_address

    @property
    def metrics_address(self) -> str:
        """The address of the metrics, with the port that 0 became; empty without metrics."""
        metrics = self._children.metrics
        return metrics.address if metrics is not None else ""

    async def start(self) -> None:
        """Returns when every engine and front serves."""
        children = self._children
        check_files(children.config)  # before a model is loaded
        config = children.config = replace(
            children.config,
            address=self._hold(children.config.address),
            admin_address=children.config.admin_address
            and self._hold(children.config.admin_address),
            http_address=children.config.http_address and self._hold(children.config.http_address),
        )
        self.address = config.address
        try:
            if config.metrics_address:
                # Imported here with what it needs: without metrics, only the children need that.
                from gemwire_server.processes.server_metrics import ServerMetrics

                children.metrics = ServerMetrics(
                    config.metrics_address,
                    lambda: any(front.serving for front in children.fronts),
                )
            await self._start_all([EngineKeeper(each, children).run() for each in children.engines])
            await self._start_all([FrontKeeper(each, children).run() for each in children.fronts])
        except BaseException:
            self.end_now()
            raise

    def _hold(self, address: str) -> str:
        held = HeldPort(address)
        self._ports.append(held)
        return held.address

    async def _start_all(self, keepers: list[Coroutine[None, None, None]]) -> None:
        """Runs the keepers, and returns when the child of each is ready. Raises what a keeper raises."""
        self._tasks += [asyncio.create_task(keeper) for keeper in keepers]
        for _ in keepers:
            waiting = asyncio.create_task(self._children.started.get())
            done, _ = await asyncio.wait(
                {waiting, *self._tasks}, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done - {waiting}:
                task.result()

    async def drain(self, lame_duck_seconds: float) -> None:
        children = self._children
        children.draining = True
        children.send_to_fronts(DrainFront(lame_duck_seconds))
        fronts = [each.process for each in children.fronts if each.process is not None]
        await wait_for_all(fronts, children.config.drain_seconds + ENDING_SECONDS)
        # No front is left to ask the engines anything.
        engines = [each.process for each in children.engines if each.process is not None]
        for process in engines:
            process.kill()
        await wait_for_all(engines, ENDING_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for port in self._ports:
            port.close()
        self._close_metrics()

    def end_now(self) -> None:
        self._children.draining = True
        self._children.kill()
        self._close_metrics()

    def _close_metrics(self) -> None:
        if self._children.metrics is not None:
            self._children.metrics.close()
            self._children.metrics = None
