"""The engine's process: loads the model, then serves fronts over their links."""

import logging
import os
import sys
import threading

from prometheus_client import CollectorRegistry

from gemwire_server.checkpoints import open_configured
from gemwire_server.engine.interface import Observer
from gemwire_server.engine.thread_engine import SWITCH_INTERVAL_SECONDS, ThreadEngine
from gemwire_server.errors import CheckpointError, DeviceError, one_line
from gemwire_server.observe.metrics import EngineMetrics
from gemwire_server.processes import control
from gemwire_server.processes.child_setup import set_up
from gemwire_server.processes.control import BlockingChannel
from gemwire_server.processes.control_messages import (
    MODEL_BYTES,
    CloseEngine,
    EngineBusy,
    EngineReady,
    StartEngine,
    StartFailed,
    encode,
)
from gemwire_server.processes.host import EngineHost
from gemwire_server.runners.loading import Loaded, load

log = logging.getLogger(__name__)

CANNOT_LOAD, DEVICE_LOST = 3, 4


def run_engine(descriptor: int) -> int:
    """Runs until the supervisor closes the engine, or is gone."""
    channel = BlockingChannel(control.inherited(descriptor))
    incoming = channel.messages()
    first = next(incoming, None)
    if first is None:
        return 0
    assert isinstance(first, StartEngine)
    config = set_up(first)
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    try:
        loaded = load(open_configured(config), config, first.loader)
        ready = describe(loaded)
    except (CheckpointError, DeviceError, OSError, ValueError) as error:
        channel.send(StartFailed(one_line(error)))
        return CANNOT_LOAD
    host = EngineHost(
        first.path,
        lambda observer: make_engine(loaded, observer),
        observer=EngineMetrics(
            CollectorRegistry(), max_batch_tokens=loaded.config.max_batch_tokens
        ),
        on_tick=lambda: channel.send(EngineBusy(host.watch.busy_seconds())),
    )
    serving = threading.Thread(target=host.run, name="gemwire-links")
    serving.start()
    channel.send(ready)
    for message in incoming:
        if isinstance(message, CloseEngine):
            host.close()
            serving.join()
            return 0
    os._exit(0)  # the supervisor is gone, and no front waits for what runs


def describe(loaded: Loaded) -> EngineReady:
    """The message that the engine is ready. Raises CheckpointError if it is too large to send."""
    ready = EngineReady(loaded.model.to_fields(), loaded.config.max_batch_tokens)
    if (size := len(encode(ready))) > MODEL_BYTES:
        raise CheckpointError(
            f"{loaded.config.model}: its description, which lists its prompts, takes {size} bytes between "
            f"processes; the limit is {MODEL_BYTES}: shorten the prompts, or serve with --engine thread"
        )
    return ready


def make_engine(loaded: Loaded, observer: Observer) -> ThreadEngine:
    return ThreadEngine(
        loaded.runner,
        max_batch_tokens=loaded.config.max_batch_tokens,
        max_queue_tokens=loaded.config.max_queue_tokens,
        # The process ends at once: the fronts see their links close, and the supervisor restarts it.
        on_death=lambda: os._exit(DEVICE_LOST),
        observer=observer,
    )
