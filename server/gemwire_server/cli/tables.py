"""Opens a source of rows and a sink for their vectors, by format.

A sink's file has its name only once it is whole.
"""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from gemwire_server.cli import compression as compressed
from gemwire_server.cli.files import replacing
from gemwire_server.cli.lines import JsonlSink, TextSource
from gemwire_server.cli.npy import npy_sink
from gemwire_server.cli.rows import Columns, Sink, Source, TableError
from gemwire_server.streams import standard_input

INPUT_FORMATS = {
    ".txt": "lines",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
OUTPUT_FORMATS = {**INPUT_FORMATS, ".npy": "npy"}
del OUTPUT_FORMATS[".txt"]


@contextmanager
def open_source(path: str, kind: str | None, columns: Columns) -> Iterator[Source]:
    """Opens a file, or standard input for "-". `kind` is lines, jsonl, parquet, or by the name."""
    inner, compression = compressed.split_ending(path)
    kind = kind or ("lines" if path == "-" else INPUT_FORMATS.get(Path(inner).suffix.lower()))
    if kind is None:
        raise TableError(
            f"{path}: its name ends in none of {', '.join(INPUT_FORMATS)}, with or without "
            f"{', '.join(compressed.ENDINGS)}: give its --format"
        )
    if kind == "lines" and columns != Columns("text", None):
        raise TableError(f"{path}: lines have no columns; --format jsonl does")
    if kind == "parquet":
        if path == "-":
            raise TableError("Parquet has its index at the end, so that it cannot come from a pipe")
        if compression:
            raise TableError(
                f"{path}: Parquet compressed as a whole has no index: unpack it first; Parquet's own "
                "compression is read"
            )
        from gemwire_server.cli.parquet import parquet_source

        with parquet_source(path, columns) as source:
            yield source
        return
    if path == "-":
        yield TextSource("standard input", standard_input(), kind, columns)
        return
    with open(path, "rb") as file:
        yield TextSource(path, file, kind, columns)


@contextmanager
def open_sink(path: str, dimensions: int, schema: Any = None) -> Iterator[Sink]:
    """Opens a file by its name's ending, or standard output for JSONL with "-".

    A file is written beside its place and put there when the block ends without an exception.
    `schema` is that of the source.
    """
    kind, compression = check_output(path)
    if path == "-":
        yield JsonlSink(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    with (
        replacing(Path(path)) as file,
        compressed.writing(file, compression) as inner,
        _make_sink(kind, inner, dimensions, schema) as sink,
    ):
        yield sink


def check_output(path: str) -> tuple[str, str]:
    """The format and the compression of an output, by its name. Raises TableError for other names."""
    if path == "-":
        return "jsonl", ""
    inner, compression = compressed.split_ending(path)
    if (kind := OUTPUT_FORMATS.get(Path(inner).suffix.lower())) is None:
        raise TableError(
            f"{path}: the name's ending tells the format: {', '.join(OUTPUT_FORMATS)}; "
            "- is JSONL on standard output"
        )
    if compression and kind != "jsonl":
        raise TableError(
            f"{path}: only JSONL is written compressed: leave out {Path(path).suffix}, and compress "
            "the file afterwards"
        )
    return kind, compression


def _make_sink(
    kind: str, file: IO[bytes], dimensions: int, schema: Any
) -> AbstractContextManager[Sink]:
    if kind == "npy":
        return npy_sink(file, dimensions)
    if kind == "jsonl":
        return nullcontext(JsonlSink(file))
    from gemwire_server.cli.parquet import parquet_sink

    return parquet_sink(file, dimensions, schema)
