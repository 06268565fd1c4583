"""One EmbedStream for threads: two queues, and the thread that empties the call into one of them."""

import queue
import threading
import time
from collections.abc import Generator, Iterator

import grpc

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client import requests
from gemwire_client.connection import Connection
from gemwire_client.errors import DeadlineExceeded, GemwireError
from gemwire_client.exchange import Answer, Exchange
from gemwire_client.requests import Text

# A message waits this long for texts of a slow source.
GATHER_SECONDS = 0.01


class Stream:
    """A call under way. `error` is why it ended, None after OK."""

    def __init__(self, connection: Connection) -> None:
        self.error: GemwireError | None = None
        self._outbox: queue.SimpleQueue[pb.EmbedStreamRequest | None] = queue.SimpleQueue()
        self._inbox: queue.SimpleQueue[pb.EmbedStreamResponse | None] = queue.SimpleQueue()
        self._connection = connection
        self._call = connection.stream(iter(self._outbox.get, None))
        self._receiver = threading.Thread(target=self._receive, name="gemwire-stream", daemon=True)
        self._receiver.start()

    def send(self, message: pb.EmbedStreamRequest) -> None:
        self._outbox.put(message)

    def half_close(self) -> None:
        self._outbox.put(None)

    def receive(self, timeout: float | None) -> pb.EmbedStreamResponse | None:
        """The server's next message, None at the end; queue.Empty after `timeout` seconds."""
        return self._inbox.get(timeout=timeout)

    def close(self) -> None:
        """Cancels the call if it has not ended, and leaves no thread behind."""
        self.half_close()  # ends grpc's own thread, which waits for the next message
        self._call.cancel()
        self._receiver.join()
        # gRPC keeps the connection while the call exists, and an error's traceback may keep this stream.
        del self._call

    def _receive(self) -> None:
        try:
            for message in self._call:
                if isinstance(message, GemwireError):
                    self.error = message
                    break
                self._inbox.put(message)
        except grpc.RpcError as error:
            self.error = self._connection.failure(error)
        finally:
            self._inbox.put(None)


def run_stream(
    exchange: Exchange,
    texts: Iterator[Text],
    call: Stream,
    opening: pb.EmbedStreamRequest,
    timeout: float | None,
) -> Generator[tuple[int, Answer], None, None]:
    """Sends and receives until the stream ends."""
    half_closed = False
    try:
        call.send(opening)
        while True:
            # Texts that another stream left come first: the source may take longer than a proxy waits.
            _send(exchange, call)
            _gather(exchange, texts)
            yield from exchange.ready()
            _send(exchange, call)
            if exchange.sending_done and not half_closed:
                call.half_close()
                half_closed = True
            try:
                # With room left there is more to read: look for answers, and do not wait for them.
                message = call.receive(0.0 if exchange.wanted else timeout)
            except queue.Empty:
                if exchange.wanted:
                    continue
                raise DeadlineExceeded(
                    f"no answer for {timeout:g} s", code=grpc.StatusCode.DEADLINE_EXCEEDED
                ) from None
            if message is None:
                return
            exchange.receive(message)
            yield from exchange.ready()
    finally:
        call.close()


def _send(exchange: Exchange, call: Stream) -> None:
    while (batch := exchange.next_batch()) is not None:
        call.send(batch)


def _gather(exchange: Exchange, texts: Iterator[Text]) -> None:
    """Reads as many texts as a message holds, or as come within a moment."""
    until = time.monotonic() + GATHER_SECONDS
    while exchange.wanted:
        try:
            text = next(texts)
        except StopIteration:
            exchange.source_ended = True
            return
        exchange.add(requests.text_input(text))
        if time.monotonic() > until:
            return
