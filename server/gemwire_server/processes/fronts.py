"""The fronts of a process and the service behind them."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from gemwire_server.config.checks import is_local
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.interface import Engine
from gemwire_server.fronts.front import Front
from gemwire_server.fronts.grpc.server import GrpcFront
from gemwire_server.observe.metrics import CallMetrics
from gemwire_server.security import open_certificates, open_tokens
from gemwire_server.served_model import ServedModel
from gemwire_server.service.call_observer import CallObserver
from gemwire_server.service.service import Service
from gemwire_server.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from gemwire_server.fronts.http.server import HttpFront

log = logging.getLogger(__name__)

LAG_SECONDS = 0.1


class Fronts:
    """`bind`, `open`, `warm_up`, `set_serving`, then either `drain` or `stop`."""

    def __init__(
        self, config: ServerConfig, metrics: CallMetrics, *, share_port: bool = False
    ) -> None:
        """`share_port` lets other processes listen on the same addresses.

        Raises ConfigError for certificates and tokens that cannot be used.
        """
        self._config = config
        self._metrics = metrics
        self._draining = False
        self._lag_timer: asyncio.Task[None] | None = None
        self._observer = CallObserver(metrics, None)
        if config.traces != "none":
            from gemwire_server.observe.tracing import Tracing

            self._observer.tracing = Tracing()
        self.service = Service(config, self._observer)
        certificates = open_certificates(config, metrics.bad_file)
        # One object for every front: a token has one quota, whichever API its calls take.
        tokens = open_tokens(config, metrics.bad_file)
        self.grpc = GrpcFront(
            config, self.service, certificates=certificates, tokens=tokens, share_port=share_port
        )
        self.http: HttpFront | None = None
        if config.http_address:
            # Imported here with what it needs, some 8 MB.
            from gemwire_server.fronts.http import server

            self.http = server.HttpFront(
                config,
                self.service,
                certificates=certificates,
                tokens=tokens,
                share_port=share_port,
            )
        self._fronts: list[Front] = [self.grpc, *([self.http] if self.http is not None else [])]

    @property
    def is_serving(self) -> bool:
        """Whether calls can be answered."""
        return self.service.is_serving

    async def bind(self) -> None:
        """Takes the configured addresses; raises OSError if they cannot be had."""
        if self._config.tokens_file and not self._config.tls_cert:
            _warn_of_tokens_in_clear(self._config.address, self._config.http_address)
        for front in self._fronts:
            await front.bind()

    async def open(
        self, engine: Engine, tokenizer: Tokenizer, model: ServedModel, config: ServerConfig
    ) -> None:
        """Takes calls, before the health says SERVING. `config` has the tokens of a step that suit the
        device. Raises CheckpointError for a model that an API cannot describe."""
        self.service.open(engine, tokenizer, model)
        for front in self._fronts:
            await front.open(config)
        self._lag_timer = asyncio.create_task(self._measure_lag())

    async def warm_up(self) -> None:
        """One text the whole way, tokenizer and engine included; raises the GemwireError it ends in."""
        await self.service.warm_up()

    async def set_serving(self, serving: bool) -> None:
        """Sets the health of every front; once `drain` has begun, NOT_SERVING stays."""
        self.service.is_serving = serving and not self._draining
        for front in self._fronts:
            await front.set_serving(serving)

    async def drain(self, lame_duck_seconds: float) -> None:
        """Is NOT_SERVING, takes no new work, answers what was accepted, and stops.

        The lame duck period lasts at least so long: gRPC answers a call that arrives in the moment it
        stops with CANCELLED, which no client takes for an invitation to try another server.
        """
        self._draining = True
        self.service.is_serving = False
        self.service.close_gate()
        for front in self._fronts:
            await front.drain()
        try:
            async with asyncio.timeout(self._config.drain_seconds):
                await asyncio.sleep(lame_duck_seconds)
                await self.service.wait_idle()
        except TimeoutError:
            log.warning(
                "after %g s: what is not computed yet is refused", self._config.drain_seconds
            )
            await self.service.abandon()
        await self.stop()

    async def stop(self) -> None:
        """Ends what is left: open calls, the threads that tokenize."""
        for front in self._fronts:
            await front.stop()
        await self.service.close()
        if self._lag_timer is not None:
            self._lag_timer.cancel()
        if self._observer.tracing is not None:
            await asyncio.to_thread(self._observer.tracing.close)

    async def _measure_lag(self) -> None:
        """How late a timer is, is how long any other ready work waits for the event loop."""
        while True:
            due = time.monotonic() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._metrics.loop_lag.observe(max(0.0, time.monotonic() - due))


def _warn_of_tokens_in_clear(*addresses: str) -> None:
    for address in addresses:
        if address and not is_local(address):
            log.warning(
                "tokens on %s travel in clear: give --tls-cert and --tls-key, or put TLS before it",
                address,
            )
