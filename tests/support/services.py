"""The service without any transport, on an engine that computes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from gemwire_server.checkpoints import open_checkpoint
from gemwire_server.config.options import ServerConfig
from gemwire_server.engine.interface import Engine
from gemwire_server.engine.thread_engine import ThreadEngine
from gemwire_server.observe.metrics import CallMetrics
from gemwire_server.runners.loading import load
from gemwire_server.service.call import ApiMethod, Call, Caller
from gemwire_server.service.call_observer import CallObserver
from gemwire_server.service.service import Service

METHOD = ApiMethod("test", "Embed", "test.Embed")


def a_call(deadline: float | None = None) -> Call:
    return Call(METHOD, Caller.named("me"), request_id="r", deadline=deadline)


@asynccontextmanager
async def service_of(
    checkpoint: Path,
    registry: CollectorRegistry | None = None,
    make: Callable[..., Engine] = ThreadEngine,
    **options: object,
) -> AsyncIterator[Service]:
    """All that a process puts behind its fronts."""
    config = ServerConfig(
        model=str(checkpoint),
        **{"dtype": "float32", "max_queue_tokens": 4096} | options,  # type: ignore[arg-type]
    )
    opened = open_checkpoint(config.model)
    loaded = load(opened, config)
    metrics = CallMetrics(registry or CollectorRegistry())
    metrics.register(METHOD.api, METHOD.name)
    engine = make(loaded.runner, max_batch_tokens=512, max_queue_tokens=config.max_queue_tokens)
    service = Service(config, CallObserver(metrics))
    service.open(engine, opened.load_tokenizer(), loaded.model)
    try:
        yield service
    finally:
        await service.close()
        engine.close()
