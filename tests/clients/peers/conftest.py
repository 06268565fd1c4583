"""The servers that the clients of other servers call, and the vectors that they must get."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from gemwire.v1 import embedding_pb2 as pb
from gemwire.v1.embedding_pb2_grpc import EmbeddingServiceStub
from gemwire_client import Client
from gemwire_server.security.tokens import make
from support.server_process import server_process
from support.token_files import write

QUERIES = ["Which planet is known as the Red Planet?", "How long is a day on Venus, ☿ apart?"]
DOCUMENTS = [
    "Mars is red, for its dust is rust (Fe₂O₃).",
    "A day on Venus, 243 of Earth's, is long.",
]
DIMENSIONS = 128


@dataclass(frozen=True)
class Servers:
    """`given` is what scripts get; `expected` the vectors of the native client, by kind, at full size."""

    given: dict[str, Any]
    expected: dict[str, NDArray[Any]]


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Three servers of gemwire-mini: one open, one that wants a token, one that an open stream fills."""
    file = tmp_path_factory.mktemp("peers") / "tokens"
    token, line = make("someone", 0, 0)
    write(file, line)
    http = ("--http-address", "127.0.0.1:0")
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(server_process(Path("gemwire-mini"), *http, *flags))
            for name, flags in {
                "": (),
                "guarded_": ("--tokens-file", str(file)),
                "full_": ("--max-concurrent-calls", "1"),
            }.items()
        }
        stack.enter_context(open_stream(started["full_"].address))
        given: dict[str, Any] = {
            "token": token,
            "model": "gemwire-mini-embed",
            "queries": QUERIES,
            "documents": DOCUMENTS,
            "dimensions": DIMENSIONS,
            "long_text": "Mars is red. " * 2048,
        }
        for name, server in started.items():
            given |= {f"{name}http": f"http://{server.http}", f"{name}grpc": server.address}
        client = stack.enter_context(Client(started[""].address))
        expected: dict[str, NDArray[Any]] = {
            "query": np.stack([client.embed_query(text) for text in QUERIES]),
            "document": client.embed_documents(DOCUMENTS),
            "raw": client.embed(QUERIES, prompt=""),
        }
        yield Servers(given, expected)


@contextmanager
def open_stream(address: str) -> Iterator[None]:
    """Holds an EmbedStream, which is one call, open until the block ends."""
    ended = threading.Event()

    def requests() -> Iterator[pb.EmbedStreamRequest]:
        yield pb.EmbedStreamRequest(open=pb.StreamOpen())
        ended.wait()

    with grpc.insecure_channel(address) as channel:
        call = EmbeddingServiceStub(channel).EmbedStream(requests())
        assert next(call).HasField("opened")
        yield
        ended.set()
        assert list(call) == []
