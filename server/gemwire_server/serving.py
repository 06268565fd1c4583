"""Runs a server until a signal stops it: signals, the banner, exit codes."""

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from importlib.util import find_spec
from typing import Protocol

from gemwire_server import __version__, streams
from gemwire_server.config.options import DEFAULT_LOADER, MINI, ServerConfig
from gemwire_server.observe.logs import set_up_logging
from gemwire_server.served_model import ServedModel

log = logging.getLogger(__name__)

LAME_DUCK_SECONDS = 0.5
# Of the lines to try.
QUERY = "Which planet is known as the Red Planet?"


class Server(Protocol):
    """A server in this process, or a supervisor of several."""

    @property
    def address(self) -> str: ...

    @property
    def http_address(self) -> str: ...

    @property
    def metrics_address(self) -> str: ...

    @property
    def model(self) -> ServedModel | None:
        """Known once the server has started."""

    @property
    def config(self) -> ServerConfig:
        """With the tokens of a step that suit the device, once the server has started."""

    async def start(self) -> None:
        """Returns when the server is SERVING."""

    async def drain(self, lame_duck_seconds: float) -> None:
        """Answers what was accepted, takes nothing new, and ends."""

    def end_now(self) -> None:
        """Ends at once the processes that would outlive this one."""


def serve(config: ServerConfig, loader: str = DEFAULT_LOADER) -> int:
    """Serves until SIGTERM or SIGINT, drains, and returns 0; a second signal ends at once, with 1.

    `loader` makes the model that is served, see `loading.Loader`.
    """
    set_up_logging(config.log_level, config.log_format)
    _check_installed(config)
    if config.model == MINI:
        log.warning(
            "serving gemwire-mini, the small English model that comes with gemwire; "
            "--model google/embeddinggemma-300m serves EmbeddingGemma"
        )
    return asyncio.run(_serve(config, loader))


def _check_installed(config: ServerConfig) -> None:
    """Raises ModuleNotFoundError, here and not in a child, for a package that is needed."""
    needed = ["torch", "sentencepiece", "grpc"]
    if config.http_address:
        needed += ["uvicorn", "httptools", "starlette", "orjson"]
    if config.traces == "otlp":
        needed.append("opentelemetry.exporter.otlp.proto.grpc")
    for name in needed:
        if find_spec(name) is None:
            raise ModuleNotFoundError(name=name.partition(".")[0])


def _make(config: ServerConfig, loader: str) -> Server:
    # Imported here, so that a supervisor loads no gRPC.
    if config.engine == "process":
        from gemwire_server.processes.supervisor import Supervisor

        return Supervisor(config, loader)
    from gemwire_server.processes.single import only_application

    return only_application(config, loader)


async def _serve(config: ServerConfig, loader: str) -> int:
    server = _make(config, loader)  # here, for gRPC wants the loop that it will run in
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number)
    starting = asyncio.create_task(server.start())
    told = asyncio.create_task(signals.get())
    await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
    if told.done() and not starting.done():
        server.end_now()
        os._exit(0)  # nothing accepted yet; a thread is reading weights and cannot be interrupted
    await starting
    try:
        print(banner(server), flush=True)
    except OSError as error:
        log.warning("serving; what it serves cannot be printed: %s", error.strerror)
        streams.settle()
    number = await told
    log.info("%s: draining", number.name)
    draining = asyncio.create_task(server.drain(LAME_DUCK_SECONDS))
    again = asyncio.create_task(signals.get())
    await asyncio.wait({draining, again}, return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        log.warning("second signal: ending at once")
        server.end_now()
        os._exit(1)
    again.cancel()
    await draining
    log.info("drained")
    return 0


def banner(server: Server) -> str:
    """The addresses, model and limits of a server that has just started, for people, with a line to try
    for each address. CA.pem and TOKEN.txt in a line are files of the user's."""
    address, model, config = server.address, server.model, server.config
    assert model is not None
    cut = model.default_dimensions != model.dimensions[0]
    return "\n".join(
        [
            f"gemwire {__version__} serves models/{model.name} on {address}",
            f"  revision    {model.revision}",
            f"  engine      {model.engine}",
            f"  dimensions  {', '.join(map(str, model.dimensions))}"
            + (f"; {model.default_dimensions} where a request names none" if cut else ""),
            f"  window      {model.max_tokens} tokens",
            f"  limits      {config.max_inputs_per_request} inputs and {config.max_request_bytes} bytes a "
            f"request, {config.max_batch_tokens} tokens a step, {config.max_queue_tokens} in the queue",
            *_other_addresses(server),
            f"  try         {_try_grpc(config, address)}",
        ]
    )


def _other_addresses(server: Server) -> list[str]:
    config, http, metrics = server.config, server.http_address, server.metrics_address
    lines = []
    if http:
        scheme = "https" if config.tls_cert else "http"
        lines += [
            f"  HTTP        {scheme}://{http}/docs",
            f"  try         {_try_http(config, http)}",
        ]
    if config.admin_address:
        lines += [
            f"  admin       {config.admin_address}",
            f"  try         grpcurl -plaintext {config.admin_address} grpc.health.v1.Health/Check",
        ]
    if metrics:
        lines += [
            f"  metrics     http://{metrics}/metrics",
            f"  try         curl http://{metrics}/readyz",
        ]
    return lines


def _try_grpc(config: ServerConfig, address: str) -> str:
    command = "gemwire" if shutil.which("gemwire") else f"{sys.executable} -m gemwire_server"
    tls = " --tls-ca CA.pem" if config.tls_cert else ""
    token = " --token-file TOKEN.txt" if config.tokens_file else ""
    return f"echo '{QUERY}' | {command} embed - --server {address} --task retrieval_query{tls}{token} -o -"


def _try_http(config: ServerConfig, address: str) -> str:
    scheme = "--cacert CA.pem https" if config.tls_cert else "http"
    token = ' -H "authorization: Bearer $(cat TOKEN.txt)"' if config.tokens_file else ""
    body = json.dumps({"input": QUERY, "task": "retrieval_query"})
    return f"curl {scheme}://{address}/v1/embeddings{token} --json '{body}'"
