"""Servers that refuse: real processes with a device that a test can hold, and what one calls them with."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from faults.marked import marked
from faults.under_test import UnderTest, under_test
from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub, ModelServiceStub
from support.refusals.observed import WAIT

OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
MAX_INPUTS, STEP_TOKENS, QUEUE_TOKENS = 200, 16, 1000
FLAGS = (
    *("--max-inputs-per-request", str(MAX_INPUTS)),
    *("--max-batch-tokens", str(STEP_TOKENS)),
    *("--max-queue-tokens", str(QUEUE_TOKENS)),
    *("--max-response-bytes", "65536"),
    *("--max-request-bytes", str(1 << 20)),
    *("--max-metadata-bytes", "4096"),
)
"""Small limits, so that a test reaches each with little."""


@dataclass
class Server:
    """A running server, and a connection to it."""

    process: UnderTest
    channel: grpc.Channel

    @property
    def embedding(self) -> EmbeddingServiceStub:
        return EmbeddingServiceStub(self.channel)

    @property
    def model(self) -> ModelServiceStub:
        return ModelServiceStub(self.channel)

    def raw(self, method: str, raw: bytes, service: str = "EmbeddingService") -> Any:
        """A unary call with these bytes as its request."""
        unary: Any = self.channel.unary_unary(f"/gemwire.v1.{service}/{method}")
        return unary.future(raw)

    def metric(self, name: str) -> float:
        return self.process.metrics().sum(name)

    @contextlib.contextmanager
    def connection(self, *options: tuple[str, Any]) -> Iterator[EmbeddingServiceStub]:
        """Another caller: without tokens, a server takes each connection for one."""
        options = (*OWN_CONNECTION, *options)
        with grpc.insecure_channel(self.process.address, options) as channel:
            yield EmbeddingServiceStub(channel)

    @contextlib.contextmanager
    def busy(self, waiting: int = 0) -> Iterator[Any]:
        """Holds the device with one text, and has this caller's `waiting` tokens wait behind it.

        Yields the call of the waiting text, or of the held one if there is none. Released at exit.
        """
        self.wait_idle()
        with self.process.controls.held():
            calls = [self.embedding.Embed.future(one(marked(0)))]
            eventually(lambda: self.metric("gemwire_engine_texts") == 1, "no text was taken")
            eventually(lambda: not self.metric("gemwire_queue_tokens"), "no step began")
            if waiting:
                calls.append(self.embedding.Embed.future(one(marked(1, waiting))))
                full = "the queue did not fill"
                eventually(lambda: self.metric("gemwire_queue_tokens") == waiting, full)
            yield calls[-1]
        for call in calls:
            call.exception(timeout=WAIT)

    def wait_idle(self) -> None:
        """Until the engine has no text."""
        eventually(lambda: not self.metric("gemwire_engine_texts"), "texts are left")


class Stream:
    """An EmbedStream whose client sends when a test says so."""

    def __init__(self, stub: EmbeddingServiceStub, *, opened: bool = True, **call: Any) -> None:
        """Waits until the server has opened it, unless `opened` is False: then nothing was sent."""
        self._requests: list[pb.EmbedStreamRequest | None] = []
        self._sent = threading.Semaphore(0)
        self.call: Any = stub.EmbedStream(self._send(), **call)
        self.call.add_callback(self._sent.release)
        if opened:
            self.send(pb.EmbedStreamRequest(open=pb.StreamOpen()))
            assert next(self.call).HasField("opened")

    def _send(self) -> Iterator[pb.EmbedStreamRequest]:
        while True:
            self._sent.acquire()
            if not self._requests or (request := self._requests.pop(0)) is None:
                return
            yield request

    def send(self, *requests: pb.EmbedStreamRequest | None) -> None:
        """None half-closes."""
        for request in requests:
            self._requests.append(request)
            self._sent.release()

    def batch(self, *inputs: pb.EmbedInput) -> None:
        self.send(pb.EmbedStreamRequest(batch=pb.StreamBatch(first_id=1, inputs=inputs)))

    def results(self) -> list[pb.StreamResult]:
        """The results of the next message."""
        return list(next(self.call).results.results)


class Servers:
    """Servers by their flags, each started once. Those that a test ends are `fresh`."""

    def __init__(self, checkpoint: Path, folder: Path) -> None:
        self.checkpoint = checkpoint
        self.folder = folder
        """For files that a server is given."""
        self._open = contextlib.ExitStack()
        self._kept: dict[tuple[str, ...], Server] = {}

    def __enter__(self) -> "Servers":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def get(self, *flags: str, engine: str = "thread") -> Server:
        key = (engine, *flags)
        if key not in self._kept:
            self._kept[key] = self._open.enter_context(self.fresh(*flags, engine=engine))
        return self._kept[key]

    @contextlib.contextmanager
    def fresh(
        self, *flags: str, engine: str = "thread", settings: dict[str, float] | None = None
    ) -> Iterator[Server]:
        with (
            under_test(
                self.checkpoint, *FLAGS, *flags, engine=engine, settings=settings
            ) as process,
            grpc.insecure_channel(process.address, OWN_CONNECTION) as channel,
        ):
            yield Server(process, channel)


def one(text: pb.EmbedInput, **options: Any) -> pb.EmbedRequest:
    return pb.EmbedRequest(input=text, options=pb.EmbedOptions(**options))


def many(*texts: pb.EmbedInput, **options: Any) -> pb.BatchEmbedRequest:
    return pb.BatchEmbedRequest(inputs=texts, options=pb.EmbedOptions(**options))


def eventually(holds: Callable[[], bool], otherwise: str) -> None:
    """Waits until it holds."""
    give_up = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < give_up, otherwise
        time.sleep(0.005)
