"""Calls of the commands to a server: the only file here that imports the client library."""

import argparse
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from gemwire.v1 import embedding_pb2 as pb
from gemwire_client import Client, Document, GemwireError, InvalidInput, Model, requests
from gemwire_client.connection import Connection
from gemwire_server.cli.rows import Row, Vector
from gemwire_server.security.certificates import check_pair, check_roots

# The longest wait for the next vector of a bulk run: other callers' texts may be ahead in the queue.
BULK_SECONDS = 600.0
CALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A vector, or the problem because of which there is none."""

    vector: Vector | None
    problem: str = ""


def access(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of Client besides the address. Raises OSError or ValueError for a file."""
    given: dict[str, Any] = {}
    found = files(args)
    if args.tls or args.tls_ca or args.client_cert:
        given["credentials"] = grpc.ssl_channel_credentials(
            root_certificates=found["tls_ca"],
            private_key=found["client_key"],
            certificate_chain=found["client_cert"],
        )
    if found["token"]:
        given["token"] = found["token"]
    return given


def files(args: argparse.Namespace) -> dict[str, Any]:
    """The contents of the flags' files, None for flags not given. Raises OSError or ValueError."""
    found: dict[str, Any] = {
        "tls_ca": _content(args.tls_ca),
        "client_cert": _content(args.client_cert),
        "client_key": _content(args.client_key),
        "token": _token(args.token_file) if args.token_file else None,
    }
    # Without these checks gRPC fails to connect and gives no reason.
    if found["tls_ca"] is not None:
        check_roots(found["tls_ca"], args.tls_ca)
    if found["client_cert"] is not None:
        check_pair(found["client_cert"], found["client_key"], args.client_cert, args.client_key)
    return found


def _content(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


def _token(path: str) -> str:
    token = Path(path).read_text("ascii", "replace").strip()
    if not token or not set(token) <= set(string.ascii_letters + string.digits + "-._~+/="):
        raise ValueError(f"{path}: must hold a token and nothing else")
    return token


def bulk_client(address: str, args: argparse.Namespace) -> Client:
    return Client(address, timeout=BULK_SECONDS, **access(args))


def answers(
    client: Client,
    args: argparse.Namespace,
    on_tokens: Callable[[int], None],
    rows: Iterator[Row],
) -> Iterator[Answer]:
    """One answer for each row, in order. Raises GemwireError for errors that no row caused.

    A row without a text is sent as an empty text, which the server refuses in its turn.
    """
    texts = (Document(row.text, row.title) if row.title else row.text for row in rows)
    embedded = client.embed_iter(
        texts,
        on_error="return",
        on_tokens=on_tokens,
        task=args.task,
        prompt_name=args.prompt_name,
        prompt=args.prompt,
        dimensions=args.dimensions,
        truncation=args.truncation,
    )
    for item in embedded:
        if isinstance(item, InvalidInput):
            yield Answer(None, str(item.args[0]))  # str() would count the stream's texts, not rows
        elif isinstance(item, GemwireError):
            raise item
        else:
            yield Answer(np.asarray(item, np.float32))


def model(address: str, args: argparse.Namespace) -> Model:
    with Client(address, **access(args)) as client:
        return client.model()


class Tokenizer:
    """Asks a server for token ids and their pieces, which `Client.tokenize` leaves out."""

    def __init__(self, address: str, args: argparse.Namespace) -> None:
        self._connection = Connection(address, **access(args))
        self._options = requests.options(
            task=args.task, prompt_name=args.prompt_name, prompt=args.prompt
        )

    def __enter__(self) -> "Tokenizer":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def __call__(self, text: str) -> tuple[list[int], list[str], bool]:
        """Ids, pieces, and whether they are more than the model's window."""
        request = pb.TokenizeRequest(
            input=requests.text_input(text), options=self._options, include_pieces=True
        )
        tries = self._connection.tries(CALL_SECONDS)
        found = self._connection.call(self._connection.embedding.Tokenize, request, tries)
        return list(found.ids), list(found.pieces), found.over_limit
