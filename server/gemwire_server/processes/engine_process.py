"""The engine's process: loads the model, then serves fronts over their links."""

import logging
import os
import sys
import threading

from prometheus_client import CollectorRegistry

from gemwire_server.checkpoints import open_configured
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.interface import Observer
from gemwire_server.engine.thread_engine import SWITCH_INTERVAL_SECONDS, ThreadEngine
from gemwire_server.errors import CheckpointError, DeviceError, one_line
from gemwire_server.observe.logs import set_up_logging
from gemwire_server.observe.metrics import EngineMetrics
from gemwire_server.observe.metrics_files import keep_in_files
from gemwire_server.processes import control
from gemwire_server.processes.control import BlockingChannel, Message
from gemwire_server.processes.host import EngineHost
from gemwire_server.runners.loading import Loaded, load

log = logging.getLogger(__name__)

CANNOT_LOAD, DEVICE_LOST = 3, 4


def run_engine(descriptor: int) -> int:
    """Until the supervisor says `close`, or is gone."""
    channel = BlockingChannel(control.inherited(descriptor))
    incoming = channel.messages()
    first: Message = next(incoming, {})
    if not first:
        return 0
    config = ServerConfig(**first["config"])
    set_up_logging(config.log_level, config.log_format)
    keep_in_files(first["metrics"], first["name"])
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    try:
        loaded = load(open_configured(config), config, first["loader"])
    except (CheckpointError, DeviceError, OSError, ValueError) as error:
        channel.send(failed=one_line(error))
        return CANNOT_LOAD
    host = EngineHost(
        first["path"],
        lambda observer: make_engine(loaded, observer),
        observer=EngineMetrics(
            CollectorRegistry(), max_batch_tokens=loaded.config.max_batch_tokens
        ),
        on_tick=lambda: channel.send(busy_seconds=host.watch.busy_seconds()),
    )
    serving = threading.Thread(target=host.run, name="gemwire-links")
    serving.start()
    channel.send(
        ready=loaded.model.to_fields(),
        max_batch_tokens=loaded.config.max_batch_tokens,
    )
    for message in incoming:
        if "close" in message:
            host.close()
            serving.join()
            return 0
    os._exit(0)  # the supervisor is gone, and nobody waits for what runs


def make_engine(loaded: Loaded, observer: Observer) -> ThreadEngine:
    return ThreadEngine(
        loaded.runner,
        max_batch_tokens=loaded.config.max_batch_tokens,
        max_queue_tokens=loaded.config.max_queue_tokens,
        # Everything at once: the fronts see their links close, and the supervisor starts another.
        on_death=lambda: os._exit(DEVICE_LOST),
        observer=observer,
    )
