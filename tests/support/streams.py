"""An EmbedStream that a test drives by hand."""

import queue

from gemwire.v1 import embedding_pb2 as pb
from support.harness import Served

WAIT = 30.0
"""Seconds that a stream may last."""


class Stream:
    """Sends when a test says so."""

    def __init__(
        self, served: Served, options: pb.EmbedOptions | None = None, *, ordered: bool = False
    ) -> None:
        self._requests: queue.Queue[pb.EmbedStreamRequest | None] = queue.Queue()
        self.call = served.embedding.EmbedStream(iter(self._requests.get, None), timeout=WAIT)
        self.send(pb.EmbedStreamRequest(open=pb.StreamOpen(options=options, ordered=ordered)))
        self.opened = next(self.call).opened

    def send(self, request: pb.EmbedStreamRequest) -> None:
        self._requests.put(request)

    def batch(self, first_id: int, inputs: list[pb.EmbedInput]) -> None:
        self.send(pb.EmbedStreamRequest(batch=pb.StreamBatch(first_id=first_id, inputs=inputs)))

    def half_close(self) -> None:
        self._requests.put(None)

    def rest(self) -> list[pb.StreamResult]:
        self.half_close()
        return [result for message in self.call for result in message.results.results]
