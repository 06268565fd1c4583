"""A client's connection: the channel, the metadata of every call, and how a unary call is made.

gRPC itself retries no call here: it knows only the code, not whether the server or a proxy sent it. Clients
without this library cannot know it either; for them there is `SERVICE_CONFIG`.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1 import embedding_pb2_grpc as stubs
from gemwire_client.errors import EngineFailure, GemwireError
from gemwire_client.foreign import from_rpc_error
from gemwire_client.patience import Patience, Tries
from gemwire_client.service_config import SERVICE_CONFIG, channel_options

# A gRPC interceptor (the four classes have no common base), or a function that wraps a channel.
Interceptor = Any | Callable[[grpc.Channel], grpc.Channel]
EMBED_STREAM = "/gemwire.v1.EmbeddingService/EmbedStream"
BALANCED = json.dumps({"loadBalancingConfig": SERVICE_CONFIG["loadBalancingConfig"]})


class _Base:
    """The common part of both connections; `embedding` and `models` are the stubs."""

    def __init__(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        options: Sequence[tuple[str, Any]] = (),
        interceptors: Sequence[Any] = (),
    ) -> None:
        if token and not (token.isascii() and token.isprintable()):
            raise ValueError(
                "the token holds a character that no header takes, such as a line's end"
            )
        settings = channel_options(address, [("grpc.service_config", BALANCED), *options])
        self.channel = self._open(address, credentials, settings, interceptors)
        self.embedding: Any = stubs.EmbeddingServiceStub(self.channel)
        self.models: Any = stubs.ModelServiceStub(self.channel)
        self._embed_stream: Any = self.channel.stream_stream(
            EMBED_STREAM, pb.EmbedStreamRequest.SerializeToString, _read
        )
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self.patience = Patience()
        self.closed = False
        self._known = False

    def _open(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None,
        settings: Sequence[tuple[str, Any]],
        interceptors: Sequence[Any],
    ) -> Any:
        """The channel, plain unless there are credentials; the first interceptor sees a call first."""
        raise NotImplementedError

    def failure(self, raw: grpc.RpcError) -> GemwireError:
        """Translates the exception of a failed call."""
        if self.closed:
            return closed()
        error = from_rpc_error(raw)
        self._known |= bool(error.reason)
        return error

    def tries(self, timeout: float | None) -> Tries:
        return Tries(self.patience, timeout)

    def _check_open(self) -> None:
        if self.closed:
            raise closed()

    def _pause(self, tries: Tries, error: GemwireError) -> float:
        return tries.pause(error, self._known)


class Connection(_Base):
    """A connection for threads."""

    def _open(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None,
        settings: Sequence[tuple[str, Any]],
        interceptors: Sequence[Interceptor],
    ) -> grpc.Channel:
        if credentials is None:
            channel = grpc.insecure_channel(address, settings)
        else:
            channel = grpc.secure_channel(address, credentials, settings)
        for interceptor in reversed(interceptors):
            if callable(interceptor):
                channel = interceptor(channel)
            else:
                channel = grpc.intercept_channel(channel, interceptor)
        return channel

    def close(self) -> None:
        self.closed = True
        self.channel.close()

    def stream(self, messages: Iterator[pb.EmbedStreamRequest]) -> Any:
        """A stream under way; raises GemwireError if the client is closed."""
        with self._while_open():
            return self._embed_stream(messages, metadata=self.metadata)

    def begin(self, method: Any, request: Any, tries: Tries) -> Any:
        """A first try under way, for `call`; raises GemwireError if the client is closed."""
        with self._while_open():
            return method.future(request, timeout=tries.timeout, metadata=self.metadata)

    def call(self, method: Any, request: Any, tries: Tries, begun: Any = None) -> Any:
        """The response; raises GemwireError. `begun` is a first try under way."""
        while True:
            try:
                with self._while_open():
                    if begun is None:
                        answer = method(request, timeout=tries.timeout, metadata=self.metadata)
                    else:
                        answer = begun.result()
                self._known = True
                return answer
            except grpc.RpcError as raw:
                error = self.failure(raw)
            begun = None
            time.sleep(self._pause(tries, error))

    @contextmanager
    def _while_open(self) -> Iterator[None]:
        """Another thread may close the client at any moment: gRPC raises ValueError then."""
        self._check_open()
        try:
            yield
        except ValueError:
            self._check_open()
            raise


class AsyncConnection(_Base):
    """A connection for an event loop."""

    def _open(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None,
        settings: Sequence[tuple[str, Any]],
        interceptors: Sequence[grpc.aio.ClientInterceptor],
    ) -> grpc.aio.Channel:
        # By their names in grpc.aio, which instrumentation replaces.
        if credentials is None:
            return grpc.aio.insecure_channel(address, settings, interceptors=list(interceptors))
        return grpc.aio.secure_channel(
            address, credentials, settings, interceptors=list(interceptors)
        )

    async def close(self) -> None:
        self.closed = True
        await self.channel.close()

    def stream(self) -> Any:
        """A stream under way; raises GemwireError if the client is closed."""
        self._check_open()
        return self._embed_stream(metadata=self.metadata)

    async def call(self, method: Any, request: Any, tries: Tries) -> Any:
        """The response; raises GemwireError."""
        while True:
            self._check_open()
            try:
                answer = await method(request, timeout=tries.timeout, metadata=self.metadata)
                if answer is None:
                    raise unreadable()
                self._known = True
                return answer
            except grpc.RpcError as raw:
                error = self.failure(raw)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not self.closed or (task is not None and task.cancelling()):
                    raise
                raise closed() from None  # the channel cancelled the call, not the waiting task
            await asyncio.sleep(self._pause(tries, error))


def _read(encoded: bytes) -> pb.EmbedStreamResponse | GemwireError:
    """A message of the stream, or an error in its place.

    Raises nothing: gRPC would fail the call where it is read, and then leave it open on the connection
    whatever the client does, as grpcio 1.85.1 shows.
    """
    try:
        return pb.EmbedStreamResponse.FromString(encoded)
    except DecodeError:
        return unreadable()


def unreadable() -> GemwireError:
    """The error of an answer that is no message of its method: grpc.aio gives None for it, and OK."""
    return EngineFailure(
        "the server's answer cannot be read: its bytes are no message of the method",
        code=grpc.StatusCode.INTERNAL,
    )


def closed() -> GemwireError:
    """The error of a call whose client was closed."""
    return GemwireError("the client was closed", code=grpc.StatusCode.CANCELLED)
