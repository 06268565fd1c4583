"""gemwire embed: turns a file of texts into a file of vectors, in order and in bounded memory."""

import argparse
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gemwire_server.cli.common import (
    Parser,
    Subparsers,
    add_prompt_flags,
    add_remote_flags,
    add_server_flags,
    check_server_flags,
    server_address,
)
from gemwire_server.cli.signals import ending_signals
from gemwire_server.cli.values import name, readable, whole, writable
from gemwire_server.config.sources import ConfigError

if TYPE_CHECKING:
    from gemwire_server.cli.progress import Meter
    from gemwire_server.cli.remote import Answer
    from gemwire_server.cli.rows import Row, Sink

DOCUMENT_TASK = "retrieval_document"
MOST_DIMENSIONS = 1 << 20


def add_parser(subparsers: Subparsers) -> Parser:
    parser = subparsers.add_parser(
        "embed",
        help="embed a file of texts",
        description="Embeds a file of texts: lines, JSONL or Parquet, to .npy, JSONL or Parquet, "
        "row by row in order. JSONL and Parquet keep the other columns and add `embedding`.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "input",
        metavar="INPUT",
        type=_input,
        help="a file, which may be compressed (.gz, .bz2, .xz, .zst), or - for standard input",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=_output,
        metavar="OUT",
        help="a file that ends in .npy, .jsonl (or .jsonl.gz and the like) or .parquet, or - for JSONL on "
        "standard output; the file appears once it is whole",
    )
    parser.add_argument(
        "--format",
        choices=("lines", "jsonl", "parquet"),
        help="format of INPUT; default: by its name (.txt, .jsonl, .parquet); standard input holds lines",
    )
    parser.add_argument(
        "--text-column",
        type=name,
        default="text",
        metavar="NAME",
        help="the column of the texts (default: text)",
    )
    parser.add_argument(
        "--title-column",
        type=name,
        metavar="NAME",
        help=f"the column of the titles, for --task {DOCUMENT_TASK}",
    )
    add_prompt_flags(parser)
    parser.add_argument(
        "--dimensions",
        type=whole(1, MOST_DIMENSIONS),
        metavar="N",
        help="size of a vector (default: the model's)",
    )
    parser.add_argument(
        "--truncation",
        choices=("error", "end", "start"),
        default="error",
        help="a text longer than the model's window is an error, or loses its end or its start "
        "(default: error)",
    )
    parser.add_argument(
        "--on-error",
        choices=("stop", "null"),
        default="stop",
        help="a text that cannot be embedded stops the run, or gets null (NaN in .npy) "
        "(default: stop)",
    )
    add_server_flags(parser)
    add_remote_flags(parser)
    return parser


def _input(value: str) -> str:
    return value if value == "-" else readable(value)


def _output(value: str) -> str:
    return value if value == "-" else writable(value)


def run(args: argparse.Namespace) -> int:
    _check(args)
    from gemwire_server.cli import remote
    from gemwire_server.cli.progress import metering
    from gemwire_server.cli.rows import Columns
    from gemwire_server.cli.tables import check_output, open_sink, open_source

    check_output(args.output)
    columns = Columns(args.text_column, args.title_column)
    with (
        ending_signals() as received,
        # Opened first, so that a bad file is refused before a model is loaded.
        open_source(args.input, args.format, columns) as source,
        server_address(args) as address,
        remote.bulk_client(address, args) as client,
    ):
        dimensions = args.dimensions or client.model().default_dimensions
        with (
            open_sink(args.output, dimensions, source.schema) as sink,
            metering(source.size) as meter,
        ):
            work = _Work(sink, meter, received, null_errors=args.on_error == "null")
            work.embed(source, partial(remote.answers, client, args, meter.count_tokens))
    if work.failed:
        print(
            f"gemwire: {work.failed} of {meter.texts} texts have no vector; first {work.first}",
            file=sys.stderr,
        )
    return 0


def _check(args: argparse.Namespace) -> None:
    check_server_flags(args)
    other = args.prompt is not None or args.prompt_name is not None
    if args.title_column is not None and (other or args.task not in (None, DOCUMENT_TASK)):
        raise ConfigError(f"--title-column goes with --task {DOCUMENT_TASK}")


@dataclass(slots=True)
class _Work:
    """Pairs rows with their answers, which arrive in order, and writes them."""

    sink: "Sink"
    meter: "Meter"
    received: list[int]  # signals
    null_errors: bool
    failed: int = 0
    first: str = ""

    def embed(
        self, rows: "Iterable[Row]", ask: "Callable[[Iterator[Row]], Iterator[Answer]]"
    ) -> None:
        waiting: deque[Row] = deque()  # bounded by the texts that the client has under way

        def read() -> "Iterator[Row]":
            for row in rows:
                waiting.append(row)
                yield row

        for answer in ask(read()):
            if self.received:
                raise SystemExit(128 + self.received[0])
            self._write(waiting.popleft(), answer)
        assert not waiting, "a text was not answered; this is a bug"

    def _write(self, row: "Row", answer: "Answer") -> None:
        problem = row.problem or answer.problem
        if problem:
            if not self.null_errors:
                raise ValueError(f"{row.where}: {problem}")
            self.failed += 1
            self.first = self.first or f"{row.where}: {problem}"
        self.sink.write(row, None if problem else answer.vector)
        self.meter.add(row.position)
